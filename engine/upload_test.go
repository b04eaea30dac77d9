package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/limiter"
)

// drip yields parts of a body, each after a pause, and then ends in err.
type drip struct {
	parts int
	part  string
	pause time.Duration
	err   error
}

func (d *drip) Read(p []byte) (int, error) {
	if d.parts == 0 {
		return 0, d.err
	}
	time.Sleep(d.pause)
	d.parts--
	return copy(p, d.part), nil
}

var errDisk = errors.New("disk: bad sector")

// An error of the caller's own body is not one of the network: it comes again
// whatever is repeated.
func TestUploadFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		base func(t *testing.T) http.RoundTripper
	}{
		{"net/http", func(t *testing.T) http.RoundTripper {
			return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
		}},
		{"a base of its own", func(*testing.T) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				defer req.Body.Close()
				_, err := io.Copy(io.Discard, req.Body)
				return nil, err
			})
		}},
	} {
		for _, method := range []string{"PUT", "POST"} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bodies := 0
					body := func() (io.ReadCloser, error) {
						bodies++
						return io.NopCloser(&drip{parts: 2, part: "x", err: errDisk}), nil
					}
					req := request(t, t.Context(), method, "/things", "")
					req.Body, _ = body()
					req.GetBody, req.ContentLength = body, -1
					resp, err := testEngine(t, Options{}).Transport(tt.base(t)).RoundTrip(req)
					gave, ok := errors.AsType[*GiveUpError](err)
					if !ok || gave.Decision.As != AsPermanent || gave.Decision.Reason != decision.ReasonUpload || !errors.Is(err, errDisk) || gave.Event.Network != "" || bodies != 1 {
						t.Errorf("got %v, %v after %d bodies, want it permanent after 1: %v", resp, err, bodies, decision.ReasonUpload)
					}
				})
			})
		}
	}
}

// What ends a body because the attempt has failed is no error of the body's.
func TestUploadIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		base := roundTripper(func(req *http.Request) (*http.Response, error) {
			if attempts++; attempts > 1 {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
			}
			read := make(chan error)
			go func() { _, err := io.Copy(io.Discard, req.Body); read <- err }()
			synctest.Wait()
			req.Body.Close() // as net/http where the connection is lost
			if err := <-read; err == nil {
				t.Error("the body was read to its end")
			}
			return nil, syscall.ECONNRESET
		})
		req := request(t, t.Context(), "PUT", "/things", "")
		first, _ := io.Pipe()
		req.Body, req.ContentLength = first, -1
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }
		if _, err := testEngine(t, Options{}).Transport(base).RoundTrip(req); err != nil || attempts != 2 {
			t.Errorf("got %v after %d attempts, want success after 2", err, attempts)
		}
	})
}

// An upload that progresses is not cut; one that stalls is, as is a server that
// does not answer it.
func TestUploadProgresses(t *testing.T) {
	const yaml = overLoop + `
attempt_timeout: 30s
backoff:
  default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 1, elapsed: 10m}
`
	part := strings.Repeat("x", 4<<10)
	for _, tt := range []struct {
		name  string
		body  func() io.Reader
		pause time.Duration // of the server, for each 4 KiB
		hang  bool          // once it has read all
		took  time.Duration
		cut   bool
	}{
		{name: "slow caller", body: func() io.Reader { return &drip{parts: 10, part: part, pause: 20 * time.Second, err: io.EOF} }, took: 200 * time.Second},
		{name: "slow server", body: func() io.Reader { return &drip{parts: 10, part: part, err: io.EOF} }, pause: 10 * time.Second, took: 100 * time.Second},
		{name: "slow server, long body in memory", body: func() io.Reader { return strings.NewReader(strings.Repeat(part, 50)) }, pause: 2 * time.Second, took: 100 * time.Second},
		{name: "caller stalls", body: func() io.Reader { return &drip{parts: 10, part: part, pause: 31 * time.Second, err: io.EOF} }, took: 30 * time.Second, cut: true},
		{name: "no answer", body: func() io.Reader { return &drip{parts: 10, part: part, pause: 20 * time.Second, err: io.EOF} }, hang: true, took: 230 * time.Second, cut: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					buf := make([]byte, 4<<10)
					for {
						if _, err := io.ReadFull(r.Body, buf); err != nil {
							break
						}
						time.Sleep(tt.pause)
					}
					if tt.hang {
						<-r.Context().Done()
					}
				}))
				req, err := http.NewRequestWithContext(WithAccount(t.Context(), "a"), "PUT", "http://api.test/things", tt.body())
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				resp, err := testEngine(t, Options{}, yaml).Transport(tr).RoundTrip(req)
				took := time.Since(began)
				if resp != nil {
					resp.Body.Close()
				}
				time.Sleep(time.Minute) // what still sleeps wakes up
				if (err != nil) != tt.cut || took < tt.took-20*time.Second || took > tt.took+20*time.Second {
					t.Errorf("got %v after %v, want cut %v after about %v", err, took, tt.cut, tt.took)
				}
				if tt.cut && !errors.Is(err, httpattempt.ErrTimeout) {
					t.Errorf("got %v, want an attempt timeout", err)
				}
			})
		})
	}
}

// A success that is inspected and only drips ends as a failure does that drips.
func TestInspectedDrip(t *testing.T) {
	yaml := overLoop + "inspect: [{status: 200}]\n"
	for _, status := range []int{200, 400} {
		synctest.Test(t, func(t *testing.T) {
			tr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, "x"); err != nil {
						return
					}
					http.NewResponseController(w).Flush()
					time.Sleep(time.Second)
				}
			}))
			e := testEngine(t, Options{}, yaml)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			resp, err := e.Transport(tr).RoundTrip(request(t, ctx, "GET", "/items/1", ""))
			if took := time.Since(began); err != nil || took != httpattempt.MaxHeadTime {
				t.Fatalf("HTTP %d: got %v, %v after %v, want a response after %v", status, resp, err, took, httpattempt.MaxHeadTime)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if len(body) < 9 || err != io.ErrUnexpectedEOF {
				t.Errorf("HTTP %d: %d bytes of body, %v, want what has come and %v", status, len(body), err, io.ErrUnexpectedEOF)
			}
			began = time.Now()
			e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "b"}, MaxAttempts: 1}, func(ctx context.Context) error {
				resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return e.CheckResponse(ctx, resp)
			})
			if took := time.Since(began); took != httpattempt.MaxHeadTime {
				t.Errorf("HTTP %d: Do took %v, want %v", status, took, httpattempt.MaxHeadTime)
			}
			time.Sleep(time.Minute) // the handlers see that nobody listens
		})
	}
}

// So does one whose body goes on although it was closed, as inside an io.NopCloser.
func TestInspectedDripThatCloseDoesNotEnd(t *testing.T) {
	for _, status := range []int{200, 400} {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{}, overLoop+"inspect: [{status: 200}]\n")
			base := roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Body: io.NopCloser(&drip{100, "x", time.Second, io.EOF}), ContentLength: -1, Request: req}, nil
			})
			began := time.Now()
			resp, err := e.Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > httpattempt.MaxHeadTime+time.Second { // with the read that was under way
				t.Errorf("HTTP %d: took %v, want %v", status, took, httpattempt.MaxHeadTime)
			}
			if body, err := io.ReadAll(resp.Body); len(body) < 9 || err != io.ErrUnexpectedEOF {
				t.Errorf("HTTP %d: %d bytes of body, %v, want what has come and %v", status, len(body), err, io.ErrUnexpectedEOF)
			}
			resp.Body.Close()
		})
	}
}

// A response whose context has ended holds no permit, whoever reads or closes it.
func TestContextEndsBody(t *testing.T) {
	yaml := overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n"
	for _, status := range []int{200, 400} {
		synctest.Test(t, func(t *testing.T) {
			tr := testEngine(t, Options{}, yaml).Transport(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				io.WriteString(w, strings.Repeat("x", 1<<20))
			})))
			ctx, cancel := context.WithCancel(t.Context())
			left, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
			if err != nil {
				t.Fatal(err)
			}
			short, done := context.WithTimeout(t.Context(), time.Second)
			defer done()
			if _, err := tr.RoundTrip(request(t, short, "GET", "/items/1", "")); err == nil {
				t.Errorf("HTTP %d: two at once, want the permit held while the body is open", status)
			}
			cancel()
			synctest.Wait()
			longer, done := context.WithTimeout(t.Context(), time.Minute) // its end must not come with that of the next one
			defer done()
			resp, err := tr.RoundTrip(request(t, longer, "GET", "/items/1", ""))
			if err != nil {
				t.Fatalf("HTTP %d: %v, want the permit back when the context has ended", status, err)
			}
			left.Body.Close() // gives nothing back that is not its own
			short, done = context.WithTimeout(t.Context(), time.Second)
			defer done()
			if _, err := tr.RoundTrip(request(t, short, "GET", "/items/1", "")); err == nil {
				t.Errorf("HTTP %d: two at once, after the first was closed late", status)
			}
			resp.Body.Close()
		})
	}
}

// So it is over HTTP/2.
func TestUploadFailsHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, method := range []string{"PUT", "POST"} {
		bodies := 0
		body := func() (io.ReadCloser, error) {
			bodies++
			return io.NopCloser(&drip{parts: 2, part: "x", err: errDisk}), nil
		}
		req, err := http.NewRequestWithContext(WithCall(t.Context(), Call{Provider: "test"}), method, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Body, _ = body()
		req.GetBody, req.ContentLength = body, -1
		resp, err := testEngine(t, Options{}).Transport(server.Client().Transport).RoundTrip(req)
		gave, ok := errors.AsType[*GiveUpError](err)
		if !ok || gave.Decision.As != AsPermanent || gave.Decision.Reason != decision.ReasonUpload || bodies != 1 {
			t.Errorf("%s: got %v, %v after %d bodies, want it permanent after 1: %v", method, resp, err, bodies, decision.ReasonUpload)
		}
	}
}
