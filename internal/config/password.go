package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"tidemark/internal/fault"
)

// Password returns the password of the cluster's account: from TIDEMARK_CLUSTERS_<NAME>_PASSWORD, else
// password_file, else the [client] section of defaults_file, else TIDEMARK_PASSWORD, else none. Files
// are read at each call, so that a changed password needs no restart.
func (cl *Cluster) Password() (string, error) {
	switch from := cl.PasswordFrom(); from {
	case "":
		return "", nil
	case "password_file":
		data, err := ReadSecret("read the password", cl.PasswordFile)
		if err != nil {
			return "", err
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	case "defaults_file":
		data, err := ReadSecret("read the password", cl.DefaultsFile)
		if err != nil {
			return "", err
		}
		password, ok := clientPassword(data)
		if !ok {
			return "", fault.New(fault.Config, "read", cl.DefaultsFile, errors.New("its [client] section has no password"))
		}
		return password, nil
	case passwordEnv:
		return cl.passwords[""], nil
	}
	return cl.passwords[cl.Name], nil
}

const passwordEnv = envPrefix + "PASSWORD"

// PasswordFrom names where the password comes from: an environment variable, "password_file",
// "defaults_file", or "" when there is none.
func (cl *Cluster) PasswordFrom() string {
	if _, ok := cl.passwords[cl.Name]; ok {
		return clusterEnv(cl.Name) + "PASSWORD"
	}
	if cl.PasswordFile != "" {
		return "password_file"
	}
	if cl.DefaultsFile != "" {
		return "defaults_file"
	}
	if _, ok := cl.passwords[""]; ok {
		return passwordEnv
	}
	return ""
}

// ReadSecret reads a file that must not be open to everyone; op is what that is for.
func ReadSecret(op, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.Config, op, "", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fault.New(fault.Config, op, path, fmt.Errorf("everyone on this machine may use the file (mode %04o)", mode)).
			WithHint("Run `chmod 0600 " + path + "`, with the user that runs tidemark as its owner.")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Config, op, "", err)
	}
	return data, nil
}

// clientPassword finds the last password in the [client] sections of an option file.
func clientPassword(data []byte) (password string, ok bool) {
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.TrimSpace(line[1 : len(line)-1])
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if section == "client" && found && strings.TrimSpace(key) == "password" {
			password, ok = unquoteOption(strings.TrimSpace(value)), true
		}
	}
	return password, ok
}

// unquoteOption undoes the quotes, comments and escapes of a value in an option file.
func unquoteOption(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && strings.IndexByte(s[1:], s[0]) >= 0 {
		s = s[1 : 1+strings.LastIndexByte(s[1:], s[0])]
	} else if i := strings.Index(s, " #"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	escapes := strings.NewReplacer(`\\`, `\`, `\s`, " ", `\t`, "\t", `\n`, "\n", `\r`, "\r", `\b`, "\b", `\"`, `"`, `\'`, `'`)
	return escapes.Replace(s)
}
