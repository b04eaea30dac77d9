package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/recourse-go/recourse/rules"
)

// A final answer below 200 is unreadable, but for a 101 that was asked for.
func TestNotFinal(t *testing.T) {
	for _, tt := range []struct {
		status  int
		upgrade bool
		lost    bool
	}{
		{0, false, true}, {1, false, true}, {99, false, true}, {100, false, true}, {101, false, true}, {103, false, true}, {199, false, true},
		{101, true, false}, {100, true, true}, {200, false, false}, {204, true, false},
	} {
		for _, method := range []string{"GET", "POST"} {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{})
				attempts, closed := 0, 0
				base := roundTripper(func(req *http.Request) (*http.Response, error) {
					attempts++
					body := readCloser{strings.NewReader("x"), func() { closed++ }}
					return &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: body, Request: req}, nil
				})
				req := request(t, t.Context(), method, "/things/1", "")
				if tt.upgrade {
					req.Header.Set("Connection", "Upgrade")
					req.Header.Set("Upgrade", "websocket")
				}
				want, tries := "", 1
				if tt.lost {
					if want = AsAmbiguous; method == "GET" {
						want, tries = AsExhausted, 4
					}
				}
				resp, err := e.Transport(base).RoundTrip(req)
				if resp != nil {
					resp.Body.Close()
				}
				gave, _ := errors.AsType[*GiveUpError](err)
				switch {
				case gave == nil && want == "" && resp != nil && resp.StatusCode == tt.status:
				case gave != nil && gave.Decision.As == want && attempts == tries && closed == tries && gave.Event.Network == rules.NetworkOther:
				default:
					t.Errorf("Transport, %s answered %d, upgrade %v\ngot  %v, %v after %d attempts, %d closed\nwant %q after %d", method, tt.status, tt.upgrade, resp, err, attempts, closed, want, tries)
				}

				attempts = 0
				err = e.Do(t.Context(), Call{Provider: "test", Method: method}, func(ctx context.Context) error {
					resp, err := base(req)
					if err != nil {
						return err
					}
					return e.CheckResponse(ctx, resp)
				})
				gave, _ = errors.AsType[*GiveUpError](err)
				if (gave == nil) != (want == "") || gave != nil && gave.Decision.As != want || attempts != tries {
					t.Errorf("Do, %s answered %d, upgrade %v\ngot  %v after %d attempts\nwant %q after %d", method, tt.status, tt.upgrade, err, attempts, want, tries)
				}
			})
		}
	}
}

type readCloser struct {
	io.Reader
	close func()
}

func (r readCloser) Close() error { r.close(); return nil }

// The same from a server.
func TestNotFinalServed(t *testing.T) {
	for _, status := range []string{"000", "099", "101"} {
		synctest.Test(t, func(t *testing.T) {
			tr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				fmt.Fprintf(buf, "HTTP/1.1 %s Odd\r\nContent-Length: 0\r\n\r\n", status)
				buf.Flush()
				bufio.NewReader(c).ReadByte()
			}))
			resp, err := testEngine(t, Options{}).Transport(tr).RoundTrip(request(t, t.Context(), "POST", "/things", "x"))
			if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsAmbiguous {
				t.Errorf("answered %s: got %v, %v, want ambiguous", status, resp, err)
			}
		})
	}
}
