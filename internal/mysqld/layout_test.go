package mysqld

import (
	"slices"
	"strings"
	"testing"

	"tidemark/internal/gtid"
)

// TestLayoutArgs: whatever a manifest says of where the files of InnoDB are, it is inside.
func TestLayoutArgs(t *testing.T) {
	for recorded, want := range map[string]string{
		"ibdata1:12M:autoextend":                          "ibdata1:12M:autoextend",
		"/srv/ib/ibdata1:12M:autoextend":                  "ibdata1:12M:autoextend",
		"../../primary/ibdata1:12M:autoextend":            "ibdata1:12M:autoextend",
		"below/ibdata1:12M":                               "ibdata1:12M",
		"/a/one:1G;b/two:10m;three:50M:autoextend:max:2G": "one:1G;two:10m;three:50M:autoextend:max:2G",
		"ibdata1:12M;":                                    "ibdata1:12M",
	} {
		args, err := LayoutArgs(map[string]string{"innodb_data_file_path": recorded, "innodb_page_size": "8192", "sql_mode": "ANSI"})
		if err != nil || !slices.Equal(args, []string{"--innodb-data-file-path=" + want, "--innodb-page-size=8192"}) {
			t.Errorf("%s: %q, %v", recorded, args, err)
		}
	}
	for _, recorded := range []string{
		"", ":12M", "/srv/:12M", "..:12M", "a/..:12M", "ibdata1", "ibdata1:12M:nonsense", "/a/one:12M;/b/one:12M", "one:12M;;two:12M",
		"/dev/sdb1:3Gnewraw", "/dev/sdb1:3Graw", "x\n--init-file=/etc/passwd:12M", `x\y:12M`,
	} {
		if args, err := LayoutArgs(map[string]string{"innodb_data_file_path": recorded}); err == nil {
			t.Errorf("%q was taken, as %q", recorded, args)
		}
	}
	for name, value := range map[string]string{"innodb_page_size": "16385", "innodb_undo_tablespaces": "3 --x"} {
		if args, err := LayoutArgs(map[string]string{name: value}); err == nil {
			t.Errorf("%s=%q was taken, as %q", name, value, args)
		}
	}
}

// TestInside: neither a manifest nor an option file puts files of a server outside of its data directory.
func TestInside(t *testing.T) {
	recorded := map[string]string{"innodb_data_file_path": "/srv/ib/ibdata1:12M:autoextend"}
	for _, flavor := range []gtid.Flavor{gtid.MariaDB, gtid.MySQL} {
		s := Server{o: Options{Flavor: flavor, Datadir: "/target", DefaultsFile: "/their.cnf", Settings: recorded}}
		layout, err := LayoutArgs(recorded)
		if err != nil {
			t.Fatal(err)
		}
		args := s.args("/options", "/init", layout)
		options, err := Standing{Flavor: flavor, Datadir: "/target", Include: "/their.cnf", Settings: recorded}.options()
		if err != nil {
			t.Fatal(err)
		}
		_, own, _ := strings.Cut(options, "!include /their.cnf")
		for name, value := range map[string]string{"innodb-data-file-path": "ibdata1:12M:autoextend", "innodb-data-home-dir": "./", "innodb-undo-directory": "./", "innodb-log-group-home-dir": "./"} {
			if !slices.ContainsFunc(args, func(a string) bool {
				return strings.TrimPrefix(a, "--loose-") == name+"="+value || a == "--"+name+"="+value
			}) {
				t.Errorf("%s: the private server is not told %s=%s: %q", flavor, name, value, args)
			}
			if !strings.Contains(own, "\n"+name+" = \""+value+"\"\n") {
				t.Errorf("%s: the server that stays is not told %s=%s after the user's file:\n%s", flavor, name, value, options)
			}
		}
		if strings.Contains(strings.Join(args, " ")+options, "/srv/ib") {
			t.Errorf("%s: the primary's directory is named: %q\n%s", flavor, args, options)
		}
	}
}
