package cloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"tidemark/storage"
)

// Answer is how a provider refused: what is left of its SDK's error. It is an error.
type Answer struct {
	Status  int    // of HTTP
	Code    string // the provider's own, if it gave one
	Message string
	Request string // the ID by which the provider finds the request in its logs
}

// Error is one line for people.
func (a *Answer) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the storage answers %d", a.Status)
	if a.Code != "" {
		b.WriteString(" " + a.Code)
	}
	if m := strings.Join(strings.Fields(a.Message), " "); m != "" && m != a.Code {
		b.WriteString(": " + m[:min(len(m), 300)])
	}
	if a.Request != "" {
		b.WriteString(" (request " + a.Request + ")")
	}
	return b.String()
}

// codes are those of all providers whose status alone does not say what they mean.
var codes = map[string]storage.Reason{
	// S3
	"NoSuchBucket":                       storage.NoBucket,
	"InvalidBucketName":                  storage.NoBucket,
	"InvalidAccessKeyId":                 storage.BadCredentials,
	"XAdminUserNotFound":                 storage.BadCredentials, // versitygw, with status 404
	"SignatureDoesNotMatch":              storage.BadCredentials,
	"InvalidToken":                       storage.BadCredentials,
	"ExpiredToken":                       storage.BadCredentials,
	"RequestTimeTooSkewed":               storage.ClockSkew,
	"RequestInTheFuture":                 storage.ClockSkew,
	"PermanentRedirect":                  storage.WrongRegion,
	"AuthorizationHeaderMalformed":       storage.WrongRegion,
	"IllegalLocationConstraintException": storage.WrongRegion,
	"InvalidObjectState":                 storage.Cold,
	"RequestTimeout":                     storage.Passing, // with status 400
	"OperationAborted":                   storage.Passing,
	"ConditionalRequestConflict":         storage.Passing,
	"BadDigest":                          storage.Passing, // changed on the way
	"IncompleteBody":                     storage.Passing,
	"XAmzContentChecksumMismatch":        storage.Passing,
	// Azure
	"ContainerNotFound":           storage.NoBucket,
	"InvalidResourceName":         storage.NoBucket,
	"AuthenticationFailed":        storage.BadCredentials,
	"InvalidAuthenticationInfo":   storage.BadCredentials,
	"NoAuthenticationInformation": storage.BadCredentials,
	"BlobArchived":                storage.Cold,
	"BlobBeingRehydrated":         storage.Cold,
	"ContainerBeingDeleted":       storage.NoBucket,
	"Md5Mismatch":                 storage.Passing,
	"Crc64Mismatch":               storage.Passing,
}

// Reason tells what the answer means, for all providers alike.
func (a *Answer) Reason() storage.Reason {
	// Azure has one code for both and says in words that it is the time.
	if a.Code == "AuthenticationFailed" && strings.Contains(a.Message, "Request date header") {
		return storage.ClockSkew
	}
	if reason, ok := codes[a.Code]; ok {
		return reason
	}
	switch a.Status {
	case http.StatusUnauthorized:
		return storage.BadCredentials
	case http.StatusForbidden:
		return storage.Denied
	case http.StatusMovedPermanently:
		return storage.WrongRegion
	case http.StatusTemporaryRedirect, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return storage.Passing
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return storage.Refused
	}
	if a.Status >= 500 {
		return storage.Passing
	}
	return storage.Refused
}

// Fail makes err, of a driver's request, the error that the driver returns. The context's end is that,
// an Answer says what it means, and all else is of the network.
func Fail(ctx context.Context, op, key string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return Plain(op, key, cerr)
	}
	var known *storage.Failure
	if errors.As(err, &known) {
		return storage.Fail(op, key, known.Reason, withoutURL(known.Err))
	}
	var answer *Answer
	if errors.As(err, &answer) {
		return storage.Fail(op, key, answer.Reason(), err)
	}
	err = withoutURL(err)
	var unverified *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unverified) || errors.As(err, &notTLS) || errors.As(err, &unknown) {
		return storage.Fail(op, key, storage.BadCertificate, err)
	}
	// A deadline here is one of the transport's or of the SDK's, not the caller's.
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = errors.New("cut off: " + err.Error())
	}
	return storage.Fail(op, key, storage.Passing, err)
}

// withoutURL takes out of an error of net/http, and of what an SDK has put around it, the URL of the
// request: it is long, and may hold a signature that is as good as a password.
func withoutURL(err error) error {
	var request *url.Error
	if !errors.As(err, &request) {
		return err
	}
	if u, perr := url.Parse(request.URL); perr == nil && u.Host != "" {
		return fmt.Errorf("%s: %w", u.Host, request.Err)
	}
	return request.Err
}

// NoCredentials marks an error that says that no credentials were found.
func NoCredentials(err error) error {
	return &storage.Failure{Reason: storage.NoCredentials, Err: fmt.Errorf("no credentials: %w", err)}
}

// Plain says what was being done, and to which key, when err is for the caller to tell apart.
func Plain(op, key string, err error) error {
	return fmt.Errorf("%s: %w", strings.TrimSpace(op+" "+key), err)
}

// Begin checks the context and the key before an operation.
func Begin(ctx context.Context, op, key string) error {
	if err := storage.CheckKey(key); err != nil {
		return Plain(op, "", err)
	}
	if err := ctx.Err(); err != nil {
		return Plain(op, key, err)
	}
	return nil
}
