package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/storage"
)

// TestReasons: what the answers of all providers mean.
func TestReasons(t *testing.T) {
	for _, tt := range []struct {
		status        int
		code, message string
		want          storage.Reason
	}{
		{404, "NoSuchBucket", "", storage.NoBucket},
		{404, "ContainerNotFound", "", storage.NoBucket},
		{403, "InvalidAccessKeyId", "", storage.BadCredentials},
		{403, "SignatureDoesNotMatch", "", storage.BadCredentials},
		{400, "ExpiredToken", "", storage.BadCredentials},
		{401, "", "Login Required", storage.BadCredentials},
		{403, "AuthenticationFailed", "The MAC signature found in the request is not the same", storage.BadCredentials},
		{403, "AuthenticationFailed", "Request date header too old: 'Sat, 21 Nov 2026 15:00:00 GMT'", storage.ClockSkew},
		{403, "RequestTimeTooSkewed", "", storage.ClockSkew},
		{403, "AccessDenied", "", storage.Denied},
		{403, "AuthorizationPermissionMismatch", "", storage.Denied},
		{403, "forbidden", "a@p does not have storage.objects.create access", storage.Denied},
		{301, "PermanentRedirect", "", storage.WrongRegion},
		{400, "AuthorizationHeaderMalformed", "expecting 'eu-central-1'", storage.WrongRegion},
		{403, "InvalidObjectState", "", storage.Cold},
		{409, "BlobArchived", "", storage.Cold},
		{408, "", "", storage.Passing}, {429, "", "", storage.Passing}, {500, "InternalError", "", storage.Passing},
		{502, "", "", storage.Passing}, {503, "SlowDown", "", storage.Passing}, {504, "", "", storage.Passing},
		{503, "ServerBusy", "", storage.Passing}, {400, "RequestTimeout", "", storage.Passing},
		{409, "ConditionalRequestConflict", "", storage.Passing}, {400, "BadDigest", "", storage.Passing},
		{400, "InvalidArgument", "", storage.Refused}, {404, "", "", storage.Refused}, {405, "", "", storage.Refused},
		{409, "BlobImmutableDueToPolicy", "", storage.Refused}, {501, "NotImplemented", "", storage.Refused},
	} {
		a := &Answer{Status: tt.status, Code: tt.code, Message: tt.message}
		err := Fail(t.Context(), "put", "k", fmt.Errorf("sdk: %w", a))
		if got, _ := storage.ReasonOf(err); got != tt.want {
			t.Errorf("%v: reason %d, want %d", a, got, tt.want)
		}
	}
}

// TestFail: what is no answer is of the network, unless it is the caller's end or says what it is.
func TestFail(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fail(ended, "put", "k", io.ErrUnexpectedEOF); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for err, want := range map[error]storage.Reason{
		io.ErrUnexpectedEOF:                            storage.Passing,
		&net.DNSError{Err: "no such host"}:             storage.Passing,
		context.DeadlineExceeded:                       storage.Passing, // not the caller's
		context.Canceled:                               storage.Passing,
		&tls.CertificateVerificationError{Err: io.EOF}: storage.BadCertificate,
		NoCredentials(io.EOF):                          storage.NoCredentials,
	} {
		got := Fail(t.Context(), "put", "k", err)
		if reason, ok := storage.ReasonOf(got); !ok || reason != want || errors.Is(got, context.Canceled) || errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("%v: %v, reason %d, want %d", err, got, reason, want)
		}
	}
}

// TestSecrets: a signature in the URL of a request is in no error.
func TestSecrets(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("sdk: %w", &url.Error{Op: "Put", URL: "https://a.example/c/k?sv=1&sig=s3cret", Err: io.ErrUnexpectedEOF}),
		NoCredentials(&url.Error{Op: "Get", URL: "https://a.example/token?secret=s3cret", Err: io.ErrUnexpectedEOF}),
	} {
		got := Fail(t.Context(), "put", "k", err)
		if strings.Contains(got.Error(), "s3cret") || !strings.Contains(got.Error(), "a.example: unexpected EOF") || !errors.Is(got, io.ErrUnexpectedEOF) {
			t.Error(got)
		}
	}
}

// TestPartSizes: 10,000 parts, which S3 takes, hold the largest part of a base backup that can be
// configured, and parts stay small as long as they may.
func TestPartSizes(t *testing.T) {
	var sum int64
	for n := 1; n <= 10_000; n++ {
		size := partSize(n)
		if size < 5<<20 || size > largePart || n > 1 && size < partSize(n-1) {
			t.Fatalf("part %d has %d bytes", n, size)
		}
		sum += int64(size)
	}
	if sum < 1<<40 {
		t.Errorf("10,000 parts are %d bytes", sum)
	}
}

// recorded is a provider that fails as it is told.
type recorded struct {
	mu      sync.Mutex
	log     []string
	parts   map[int][]byte
	size    int64
	running int
	most    int
	fail    func(op string, n int) error
}

func (r *recorded) do(op string, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if op != "part" {
		r.log = append(r.log, op)
	}
	if r.fail != nil {
		return r.fail(op, n)
	}
	return nil
}

func (r *recorded) Whole(_ context.Context, data []byte) error {
	r.parts = map[int][]byte{1: data}
	return r.do("whole", len(data))
}
func (r *recorded) Begin(context.Context) error { r.parts = map[int][]byte{}; return r.do("begin", 0) }
func (r *recorded) Part(_ context.Context, n int, data []byte) error {
	r.mu.Lock()
	r.running++
	r.most = max(r.most, r.running)
	r.mu.Unlock()
	time.Sleep(time.Millisecond)
	err := r.do("part", n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if err == nil {
		r.parts[n] = []byte{data[0], data[len(data)-1]}
		r.size += int64(len(data))
	}
	return err
}
func (r *recorded) Complete(_ context.Context, parts int, size int64) error {
	if parts != len(r.parts) || size != r.size {
		return fmt.Errorf("%d parts of %d bytes, %d of %d came", parts, size, len(r.parts), r.size)
	}
	return r.do("complete", parts)
}
func (r *recorded) Abort(ctx context.Context) {
	if ctx.Err() != nil {
		panic("given up with an ended context")
	}
	_ = r.do("abort", 0)
}

// TestUpload: how an upload is cut, and what it ends with when a step fails.
func TestUpload(t *testing.T) {
	broken := storage.Fail("upload", "k", storage.Refused, errors.New("broken"))
	passing := storage.Fail("upload", "k", storage.Passing, errors.New("passing"))
	quick := storage.DefaultBackoff()
	quick.First, quick.Attempts = 1, 3
	once := func(op string, at int) func(string, int) error {
		done := false
		return func(o string, n int) error {
			if o == op && (at == 0 || n == at) && !done {
				done = true
				return passing
			}
			return nil
		}
	}
	always := func(op string, err error) func(string, int) error {
		return func(o string, _ int) error {
			if o == op {
				return err
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name string
		size int64
		fail func(string, int) error
		log  string
		err  error
	}{
		{"empty", 0, nil, "whole", nil},
		{"short", 10, nil, "whole", nil},
		{"one part", firstPart, nil, "begin complete", nil}, // whether more comes was not known
		{"many parts", 10*firstPart + 1, nil, "begin complete", nil},
		{"whole again", 10, once("whole", 0), "whole whole", nil},
		{"begin again", 3 * firstPart, once("begin", 0), "begin begin complete", nil},
		{"part again", 6 * firstPart, once("part", 4), "begin complete", nil},
		{"complete again", 3 * firstPart, once("complete", 0), "begin complete complete", nil},
		{"whole fails", 10, always("whole", broken), "whole", broken},
		{"whole never passes", 10, always("whole", passing), "whole whole whole", passing},
		{"begin fails", 3 * firstPart, always("begin", broken), "begin", broken},
		{"part fails", 9 * firstPart, always("part", broken), "begin abort", broken},
		{"complete fails", 3 * firstPart, always("complete", broken), "begin complete abort", broken},
	} {
		r := &recorded{fail: tt.fail}
		n, err := Upload(t.Context(), "upload", "k", io.LimitReader(zeros{}, tt.size), r, quick)
		if !errors.Is(err, tt.err) || err == nil && n != tt.size || strings.Join(r.log, " ") != tt.log || r.most > inFlight {
			t.Errorf("%s: %d, %v, %q, %d at a time", tt.name, n, err, r.log, r.most)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestListing: what is asked of a provider, and what is made of its names.
func TestListing(t *testing.T) {
	u, err := url.Parse("s3://bucket/a/b/")
	if err != nil {
		t.Fatal(err)
	}
	place := PlaceOf(u)
	if place.URL() != "s3://bucket/a/b" || place.Name("k") != "a/b/k" || (Place{"s3", "bucket", ""}).URL() != "s3://bucket/" {
		t.Errorf("%+v, %s", place, place.URL())
	}
	for _, tt := range []struct{ prefix, after, names, askPrefix, askAfter, want string }{
		{"", "", "a/b/1 a/b/2", "a/b/", "", "1 2"},
		{"", "1", "a/b/1 a/b/2", "a/b/", "a/b/1", "2"},
		{"l/", "a", "a/b/l/1", "a/b/l/", "", "l/1"},
		{"", "", "a/b/ a/b/dir/ a/b/x a/b/y~ a/bc", "a/b/", "", "x"}, // no keys of ours
		{"", "", "a/b/2 a/b/1", "a/b/", "", "2 unordered"},
		{"", "", "a/b/2 a/b/2", "a/b/", "", "2 unordered"},
	} {
		var got []string
		l := NewListing(t.Context(), place, tt.prefix, tt.after, func(o storage.Object, err error) bool {
			if reason, ok := storage.ReasonOf(err); ok && reason == storage.Unordered {
				o.Key = "unordered"
			}
			got = append(got, o.Key)
			return true
		})
		if l.Prefix() != tt.askPrefix || l.After() != tt.askAfter {
			t.Errorf("%+v asks for %q after %q", tt, l.Prefix(), l.After())
		}
		for name := range strings.FieldsSeq(tt.names) {
			if !l.Add(name, storage.Object{}) {
				break
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
	for _, none := range [][2]string{{"/", ""}, {"a b", ""}, {"a", "b"}, {"../", ""}} {
		if l := NewListing(t.Context(), place, none[0], none[1], nil); l != nil {
			t.Errorf("%q is listed", none)
		}
	}
}
