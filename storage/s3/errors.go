package s3

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"tidemark/storage/cloud"
)

// answer returns what the service said, or nil if err is nil or not from the service.
func answer(err error) *cloud.Answer {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil || response.HTTPStatusCode() < 300 {
		return nil
	}
	a := &cloud.Answer{Status: response.HTTPStatusCode(), Request: response.ServiceRequestID()}
	var api smithy.APIError
	if errors.As(err, &api) {
		a.Code, a.Message = api.ErrorCode(), api.ErrorMessage()
	}
	return a
}

// missing reports whether the service said that there is no such object. The answer to a HEAD can say
// no more than that something is not there. Other codes come with status 404 too.
func missing(err error) bool {
	a := answer(err)
	return a != nil && a.Status == http.StatusNotFound && (a.Code == "NoSuchKey" || a.Code == "NotFound")
}

// fail returns the driver's error for one of the SDK.
func fail(ctx context.Context, op, key string, err error) error {
	return cloud.Fail(ctx, op, key, translate(err))
}

// translate takes out of an error of the SDK what matters.
func translate(err error) error {
	if a := answer(err); a != nil {
		return a
	}
	return err
}

// credentials are those of the SDK's default chain. The SDK has no type for the error that there are
// none.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = cloud.NoCredentials(err)
	}
	return found, err
}
