package emulatortest

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// LockingBucket creates a bucket of S3 that keeps versions and can lock objects.
func (s *Service) LockingBucket() (string, error) {
	const name = "tidemark-test-locking"
	return name, newS3(context.Background(), s, name, true)
}

func createS3(ctx context.Context, s *Service, bucket string) error {
	return newS3(ctx, s, bucket, false)
}

func newS3(ctx context.Context, s *Service, bucket string, locking bool) error {
	client := s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint,
		UsePathStyle: true,
		Region:       "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s3Key, SecretAccessKey: s3Secret}, nil
		}),
	})
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: &locking})
	return err
}

func createAzure(ctx context.Context, s *Service, container string) error {
	shared, err := azblob.NewSharedKeyCredential(azureAccount, azureKey)
	if err != nil {
		return err
	}
	client, err := azblob.NewClientWithSharedKeyCredential(s.Endpoint, shared, nil)
	if err != nil {
		return err
	}
	_, err = client.CreateContainer(ctx, container, nil)
	return err
}
