package catalog

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// verified checks the plain bytes of a segment against its manifest as they are read: their number,
// their digest, and the digest of every member's body.
type verified struct {
	c      *Catalog
	seg    *Segment
	from   string // what is read, in errors
	r      io.ReadCloser
	n      uint64
	body   hash.Hash
	member int    // the one being read
	left   uint64 // bytes of it
}

func newVerified(c *Catalog, s *Segment, r io.ReadCloser) *verified {
	return &verified{c: c, seg: s, from: s.Stored.Key, r: r, body: sha256.New(), left: s.Members[0].BodyBytes}
}

// CheckPlain reads the plain bytes of a segment from elsewhere than the archive, named from. Read to io.EOF, every
// byte has been checked against the manifest, as with OpenPlain.
func CheckPlain(s *Segment, from string, r io.ReadCloser) io.ReadCloser {
	v := newVerified(nil, s, r)
	v.from = from
	return v
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	if berr := v.count(p[:n]); berr != nil {
		return 0, v.wrong(berr)
	}
	if err == io.EOF {
		if v.n != v.seg.HeadBytes+v.seg.BodyBytes {
			return n, v.wrong(fmt.Errorf("it has %d plain bytes, its manifest says %d", v.n, v.seg.HeadBytes+v.seg.BodyBytes))
		}
	}
	return n, err
}

// count feeds the body's bytes to the members' digests.
func (v *verified) count(p []byte) error {
	if head := v.seg.HeadBytes; v.n < head {
		skip := min(head-v.n, uint64(len(p)))
		v.n += skip
		p = p[skip:]
	}
	for len(p) > 0 {
		if v.member == len(v.seg.Members) {
			return fmt.Errorf("it has more plain bytes than its manifest says")
		}
		n := min(v.left, uint64(len(p)))
		v.body.Write(p[:n])
		v.n += n
		v.left -= n
		p = p[n:]
		if v.left > 0 {
			continue
		}
		m := v.seg.Members[v.member]
		if Digest(v.body.Sum(nil)) != m.BodySHA256 {
			return fmt.Errorf("the body of member %d does not match the manifest's SHA-256", m.Number)
		}
		v.body.Reset()
		if v.member++; v.member < len(v.seg.Members) {
			v.left = v.seg.Members[v.member].BodyBytes
		}
	}
	return nil
}

func (v *verified) wrong(err error) error {
	return damaged("read segment "+v.seg.Name()+" in", v.from, err)
}

func (v *verified) Close() error { return v.r.Close() }
