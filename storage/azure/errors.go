package azure

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"tidemark/storage"
	"tidemark/storage/cloud"
)

// detail is what the service says in words.
var detail = regexp.MustCompile(`(?s)<Message>(.*?)(?:RequestId:|</Message>)`)

// why is what it says of a refused signature: that the clock is wrong, for instance.
var why = regexp.MustCompile(`(?s)<AuthenticationErrorDetail>(.*?)</AuthenticationErrorDetail>`)

// answer returns what the service said, or nil if err is nil or not from the service.
func answer(err error) *cloud.Answer {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		return nil
	}
	a := &cloud.Answer{Status: response.StatusCode, Code: response.ErrorCode}
	if r := response.RawResponse; r != nil {
		a.Request = r.Header.Get("x-ms-request-id")
	}
	for _, text := range []*regexp.Regexp{why, detail} {
		if m := text.FindStringSubmatch(response.Error()); m != nil {
			a.Message = m[1]
			break
		}
	}
	return a
}

// missing reports whether the service said that there is no such object.
func missing(err error) bool {
	a := answer(err)
	return a != nil && a.Status == http.StatusNotFound && a.Code == "BlobNotFound"
}

// absent turns err into ErrNotExist or a failure.
func absent(ctx context.Context, op, key string, err error) error {
	if missing(err) {
		return cloud.Plain(op, key, storage.ErrNotExist)
	}
	return fail(ctx, op, key, err)
}

// fail returns the driver's error for one of the SDK.
func fail(ctx context.Context, op, key string, err error) error {
	return cloud.Fail(ctx, op, key, translate(err))
}

// translate takes out of an error of the SDK what matters.
func translate(err error) error {
	if _, known := storage.ReasonOf(err); known {
		return err
	}
	if a := answer(err); a != nil {
		return a
	}
	return err
}

// token is the SDK's default chain, whose errors are not the storage's.
type token struct{ azcore.TokenCredential }

func (t token) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	found, err := t.TokenCredential.GetToken(ctx, o)
	var refused *azidentity.AuthenticationFailedError
	switch {
	case err == nil || ctx.Err() != nil:
		return found, err
	case errors.As(err, &refused) && refused.RawResponse != nil && refused.RawResponse.StatusCode < 500:
		return found, &storage.Failure{Reason: storage.BadCredentials, Err: err}
	case errors.As(err, &refused) && refused.RawResponse != nil:
		return found, &storage.Failure{Reason: storage.Passing, Err: err}
	}
	return found, cloud.NoCredentials(err)
}
