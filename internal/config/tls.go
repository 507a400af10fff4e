package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"tidemark/internal/fault"
)

// TLSMode says how a connection to the primary is secured.
type TLSMode string

// The modes.
const (
	TLSAuto           TLSMode = "auto"
	TLSDisabled       TLSMode = "disabled"
	TLSRequired       TLSMode = "required"        // encrypted, the server not authenticated
	TLSVerifyCA       TLSMode = "verify-ca"       // and its certificate checked, but not its name
	TLSVerifyIdentity TLSMode = "verify-identity" // and its name
)

// String returns the mode as it is written.
func (m TLSMode) String() string { return string(m) }

// UnmarshalText accepts the modes there are.
func (m *TLSMode) UnmarshalText(b []byte) error {
	switch v := TLSMode(b); v {
	case TLSAuto, TLSDisabled, TLSRequired, TLSVerifyCA, TLSVerifyIdentity:
		*m = v
		return nil
	}
	return fmt.Errorf("%q is not a TLS mode: write disabled, required, verify-ca, verify-identity or auto", b)
}

// ModeFor returns the mode for a host, never TLSAuto.
func (t TLS) ModeFor(host Address) TLSMode {
	switch {
	case t.Mode != TLSAuto && t.Mode != "":
		return t.Mode
	case host.Local():
		return TLSDisabled
	}
	return TLSVerifyIdentity
}

// ClientConfig returns the settings of a connection to host, or nil where TLS is disabled.
func (t TLS) ClientConfig(host Address) (*tls.Config, error) {
	mode := t.ModeFor(host)
	if mode == TLSDisabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host.Host()}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err == nil && c.RootCAs == nil {
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New("it holds no certificate in PEM form")
			}
		}
		if err != nil {
			return nil, fault.New(fault.Config, "read", t.CA, err)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fault.New(fault.Config, "read", t.Cert, err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	switch mode {
	case TLSRequired:
		c.InsecureSkipVerify = true // the operator asked for encryption without authentication
	case TLSVerifyCA:
		c.InsecureSkipVerify = true // the chain is checked below; only the name is not
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, c.RootCAs) }
	}
	return c, nil
}

// verifyChain checks a server's certificate as crypto/tls does, but for the name.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(cert)
	}
	_, err := s.PeerCertificates[0].Verify(o)
	return err
}
