// Package emulatortest runs the providers' services on this machine, for tests: versitygw for S3,
// fake-gcs-server for Google Cloud Storage and azurite for Azure, as scripts/install-emulators.sh
// installs them. Each listens on a free port of the loopback interface, keeps its objects in a
// directory of its own, and ends with the test.
//
// They are of the tier of all storages: with TIDEMARK_TEST_TIER=scenario Start skips the test. Where one is
// not installed it skips the test and names it; with TIDEMARK_MUST_RUN=1 in the environment it fails instead.
package emulatortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The schemes of the services there are.
const (
	S3    = "s3"
	GCS   = "gs"
	Azure = "azblob"
)

// Schemes lists them.
func Schemes() []string { return []string{S3, GCS, Azure} }

// Service is a running service.
type Service struct {
	Scheme   string
	Endpoint string   // http://127.0.0.1:port, of Azure with the account
	Env      []string // NAME=value: what the SDK finds the credentials by, or the service itself
	Settings string   // of the configuration's section storage: "{endpoint: …}", or "{}"
	cmd      *exec.Cmd
	exited   chan struct{}
	log      *os.File
	buckets  int
}

// kind is how a service is run.
type kind struct {
	program string // below the directory of the emulators
	args    func(dir string, port int) []string
	service func(addr string) Service
	create  func(ctx context.Context, s *Service, bucket string) error
}

// Credentials of the services; that of azurite is built into it, and published.
const (
	s3Key        = "tidemark"
	s3Secret     = "tidemark-secret"
	azureAccount = "devstoreaccount1"
	azureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

var kinds = map[string]kind{
	S3: {
		program: "versitygw-1.8.0/versitygw",
		args: func(dir string, port int) []string {
			return []string{"--access", s3Key, "--secret", s3Secret, "--port", address(port), "--quiet",
				"posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data")}
		},
		service: func(addr string) Service {
			return Service{
				Endpoint: "http://" + addr,
				Env:      []string{"AWS_ACCESS_KEY_ID=" + s3Key, "AWS_SECRET_ACCESS_KEY=" + s3Secret, "AWS_EC2_METADATA_DISABLED=true"},
				Settings: "{endpoint: \"http://" + addr + "\", path_style: true}",
			}
		},
		create: createS3,
	},
	GCS: {
		program: "fake-gcs-server-1.56.1/fake-gcs-server",
		args: func(_ string, port int) []string {
			return []string{"-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", strconv.Itoa(port),
				"-public-host", address(port), "-log-level", "error"}
		},
		service: func(addr string) Service {
			return Service{Endpoint: "http://" + addr, Env: []string{"STORAGE_EMULATOR_HOST=" + addr}, Settings: "{}"}
		},
		create: createGCS,
	},
	Azure: {
		program: "azurite-3.35.0/node_modules/.bin/azurite-blob",
		args: func(dir string, port int) []string {
			return []string{"--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1",
				"--blobPort", strconv.Itoa(port), "--location", filepath.Join(dir, "data")}
		},
		service: func(addr string) Service {
			endpoint := "http://" + addr + "/" + azureAccount
			return Service{
				Endpoint: endpoint,
				Env: []string{"AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=http;AccountName=" + azureAccount +
					";AccountKey=" + azureKey + ";BlobEndpoint=" + endpoint + ";"},
				Settings: "{}",
			}
		},
		create: createAzure,
	},
}

// ErrMissing says that the service's program is not installed.
var ErrMissing = errors.New("is not installed: run scripts/install-emulators.sh")

// Start runs the service of a scheme until the test ends, and sets its environment.
func Start(t *testing.T, scheme string) *Service {
	t.Helper()
	s := Run(t, scheme)
	setenv(t, s.Env)
	return s
}

// Run is Start for tests that run beside others: the environment of the process stays as it is.
func Run(t *testing.T, scheme string) *Service {
	t.Helper()
	if testing.Short() {
		t.Skip("it needs a service")
	}
	if os.Getenv("TIDEMARK_TEST_TIER") == "scenario" {
		t.Skip("all storages are of the tier matrix")
	}
	s, err := Launch(scheme, t.TempDir())
	if errors.Is(err, ErrMissing) && os.Getenv("TIDEMARK_MUST_RUN") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", scheme, s.Log())
		}
	})
	return s
}

func setenv(t *testing.T, env []string) {
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
}

// Launch runs the service of a scheme with its objects and log in dir, which must exist. The caller
// must Close it, and give its Env to whoever uses it.
func Launch(scheme, dir string) (*Service, error) {
	k, ok := kinds[scheme]
	if !ok {
		return nil, fmt.Errorf("no service for %s://", scheme)
	}
	program := filepath.Join(home(), filepath.FromSlash(k.program))
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s %w", filepath.Base(program), ErrMissing)
	}
	for _, sub := range []string{"data", "versions"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	for range 5 { // a free port may be taken by another process before the service has it
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		s := k.service(address(port))
		s.Scheme = scheme
		if err = s.start(program, k.args(dir, port), dir); err == nil {
			return &s, nil
		}
	}
	return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
}

func (s *Service) start(program string, args []string, dir string) (err error) {
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, s.log, s.log
	// The service must not outlive us, however we end, and is no target of the terminal's Ctrl-C.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	deadline := time.After(time.Minute)
	for {
		r, err := http.Get(s.Endpoint)
		if err == nil {
			r.Body.Close()
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended: %s\n%s", cmd.ProcessState, s.Log())
		case <-deadline:
			s.Close()
			return fmt.Errorf("it does not answer: %w\n%s", err, s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close ends the service.
func (s *Service) Close() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.log.Close()
}

// Log is the end of what the service wrote.
func (s *Service) Log() string {
	data, _ := os.ReadFile(s.log.Name())
	return string(data[max(0, len(data)-4000):])
}

// Bucket creates a new bucket or container and returns its name.
func (s *Service) Bucket() (string, error) {
	s.buckets++
	name := fmt.Sprintf("tidemark-test-%d", s.buckets)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return name, kinds[s.Scheme].create(ctx, s, name)
}

// Archive creates a bucket and returns the URL of an archive in it.
func (s *Service) Archive(t testing.TB) *url.URL {
	t.Helper()
	bucket, err := s.Bucket()
	if err != nil {
		t.Fatalf("create a bucket: %v", err)
	}
	return &url.URL{Scheme: s.Scheme, Host: bucket, Path: "/some/archive"}
}

func home() string {
	if dir := os.Getenv("TIDEMARK_EMULATORS"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "tidemark", "emulators")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// createGCS asks for a bucket, for which no credentials are needed.
func createGCS(ctx context.Context, s *Service, bucket string) error {
	body := bytes.NewReader([]byte(`{"name": "` + bucket + `"}`))
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint+"/storage/v1/b?project=test", body)
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}
