package archive

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/binlog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/replica"
)

// TestTLS streams over TLS in every mode, and is refused where the mode's promise does not hold.
func TestTLS(t *testing.T) {
	b := kit.One(t, kit.Servers(1))
	dir := t.TempDir()
	ca := authority(t, dir, "ca")
	server := ca.issue(t, dir, "server")
	other := authority(t, dir, "other")
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--ssl-ca=" + ca.file,
		"--ssl-cert=" + server + ".pem", "--ssl-key=" + server + ".key", "--require-secure-transport=ON"}})
	srv.CreateUser(servertest.User, "secret")

	for _, c := range []struct {
		mode config.TLSMode
		ca   string
		host string // as the certificate's name is checked
		want string // words of the refusal; "": it streams
	}{
		{config.TLSDisabled, "", "127.0.0.1", "denied"},
		{config.TLSRequired, "", "127.0.0.1", ""},
		{config.TLSVerifyCA, ca.file, "127.0.0.1", ""},
		{config.TLSVerifyCA, other.file, "127.0.0.1", "unknown authority"},
		{config.TLSVerifyCA, ca.file, "elsewhere.example", ""},
		{config.TLSVerifyIdentity, ca.file, "127.0.0.1", ""},
		{config.TLSVerifyIdentity, other.file, "127.0.0.1", "unknown authority"},
		{config.TLSVerifyIdentity, ca.file, "elsewhere.example", "elsewhere.example"},
	} {
		name := string(c.mode) + " " + filepath.Base(c.ca) + " " + c.host
		address, err := config.ParseAddress(net.JoinHostPort(c.host, "3306"))
		if err != nil {
			t.Fatal(err)
		}
		secure, err := config.TLS{Mode: c.mode, CA: c.ca}.ClientConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		src, err := replica.Open(context.Background(), replica.Options{Host: srv.Addr, User: servertest.User, Password: "secret", TLS: secure},
			replica.Request{ServerID: 99, UUID: "u", Heartbeat: time.Second,
				From: binlog.Point{File: "binlog.000001", Offset: 4}}.Fixed, clock.System{})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "":
			if _, err := src.Next(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			src.Close()
		case err == nil:
			src.Close()
			t.Errorf("%s: it streams, and should be refused with %q", name, c.want)
		case !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "":
			t.Errorf("%s: %v (hint %q), expected to hold %q", name, err, fault.HintOf(err), c.want)
		}
	}
}

// ca is a certificate authority of the test.
type ca struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func authority(t *testing.T, dir, name string) *ca {
	t.Helper()
	a := &ca{file: filepath.Join(dir, name+".pem")}
	a.cert, a.key = create(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}, nil, strings.TrimSuffix(a.file, ".pem"))
	return a
}

// issue makes a server certificate for 127.0.0.1 and returns its files' path, less .pem and .key.
func (a *ca) issue(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	create(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a, path)
	return path
}

func create(t *testing.T, c *x509.Certificate, by *ca, path string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		path + ".pem": {Type: "CERTIFICATE", Bytes: der}, path + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}
