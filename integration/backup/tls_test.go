package backup

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

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/basebackup"
)

// certificate writes a self-signed certificate for names, and its key.
func certificate(t *testing.T, dir, name string, ip net.IP) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS has the tool connect with TLS, to a server that wants it.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, "server", net.IPv4(127, 0, 0, 1))
	other, _ := certificate(t, dir, "other", net.IPv4(127, 0, 0, 1))
	s := oneSite(t, "--ssl-cert="+cert, "--ssl-key="+key)
	s.srv.Exec("ALTER USER " + "tidemark@'%' REQUIRE SSL")
	for name, c := range map[string]struct {
		tls basebackup.TLS
		ok  bool
	}{
		"off":         {basebackup.TLS{}, false},
		"not checked": {basebackup.TLS{On: true}, true},
		"checked":     {basebackup.TLS{On: true, Verify: true, CA: cert}, true},
		"another CA":  {basebackup.TLS{On: true, Verify: true, CA: other}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "off" && !strings.HasPrefix(s.srv.Binaries.Version, "10.") {
				t.Skip("tools of 11.4 and later use TLS wherever they can")
			}
			e := s.engine()
			e.Primary.TLS = c.tls
			e.Primary.Dial = func(context.Context) (*client.Conn, error) { return s.srv.Process.Conn() }
			o := s.options(e)
			o.WaitCovered = time.Millisecond
			_, err := basebackup.Take(context.Background(), o)
			s.none(err)
			if copied := strings.Contains(err.Error(), "there is none yet"); copied != c.ok {
				t.Error(err)
			}
		})
	}
}
