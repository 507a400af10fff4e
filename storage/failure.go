package storage

import (
	"errors"
	"io/fs"

	"tidemark/internal/fault"
)

// Reason is why a provider of storage failed or refused: all that is told apart, whoever it is.
type Reason int

// The reasons. Only what is Passing may be better at another try.
const (
	Refused        Reason = iota // the request itself: a setting the provider does not take, an object it keeps
	Passing                      // not reached, overloaded, slowed down, cut off
	NoCredentials                // none were found
	BadCredentials               // they are not accepted: unknown, wrong, expired
	Denied                       // they are, but do not permit this
	NoBucket                     // there is no such bucket or container
	WrongRegion                  // the bucket is in another one
	ClockSkew                    // this machine's clock differs too much from the provider's
	Cold                         // the object has been moved to a class from which it cannot be read at once
	BadCertificate               // whoever answers is not who the endpoint names
	Unordered                    // it lists objects in another order than that of their keys
)

// hint is the next step for the operator.
func (r Reason) hint() string {
	switch r {
	case Passing:
		return "The storage cannot be reached or is overloaded: look at the network, at storage.endpoint, and at the provider's own status; `tidemark check` tries again."
	case NoCredentials:
		return "Give this process credentials where the provider's own tools find theirs: its environment, its files, or the role of the machine."
	case BadCredentials:
		return "The credentials that were found are unknown, wrong or expired: see which ones they are with the provider's own tool, as the user that runs tidemark."
	case Denied:
		return "Look whether the credentials are the right ones, and permit them to list, read, write and delete objects under the archive's prefix; docs/storage.md has the list."
	case NoBucket:
		return "Create the bucket or container, or correct its name in archive, and the account or endpoint it is looked for in."
	case WrongRegion:
		return "Set storage.region to the region of the bucket."
	case ClockSkew:
		return "Set this machine's clock: requests are refused when it differs by some minutes."
	case Cold:
		return "Have the provider bring the objects back from their archival class first, and let no rule move objects of an archive to such a class."
	case BadCertificate:
		return "Look at what answers at storage.endpoint, and at the certificate authorities that this machine trusts."
	case Unordered:
		return "Use a bucket that lists objects by key: no directory bucket of S3, no hierarchical namespace of Azure."
	}
	return "The provider does not accept this request: look at the settings under storage, and whether it has what they ask for."
}

// Failure is the cause of a driver's error of kind fault.Storage.
type Failure struct {
	Reason Reason
	Err    error
}

// Error is the cause's.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Fail returns the error of a driver that could not do op on key, or on the whole storage if key is "".
func Fail(op, key string, reason Reason, err error) error {
	return fault.New(fault.Storage, op, key, &Failure{reason, err}).WithHint(reason.hint())
}

// ReasonOf returns why err came to be, if a driver has said so.
func ReasonOf(err error) (Reason, bool) {
	var f *Failure
	if !errors.As(err, &f) {
		return 0, false
	}
	return f.Reason, true
}

// Permanent reports whether another try would end as this one did. It is the one place that decides
// this; what no driver calls Passing is permanent.
func Permanent(err error) bool {
	reason, known := ReasonOf(err)
	return !known || reason != Passing
}

// Keeps reports whether the storage understood that an object is to be deleted and does not let it go:
// one that is locked, or beyond this program's permissions.
func Keeps(err error) bool {
	reason, known := ReasonOf(err)
	return known && (reason == Refused || reason == Denied) || errors.Is(err, fs.ErrPermission)
}
