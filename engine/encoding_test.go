package engine

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/recourse-go/recourse/limiter"
)

// A failed response that net/http has not decoded, since the caller asked for the
// coding, is decided by what it says, and reaches the caller as it came.
func TestCompressedRefusal(t *testing.T) {
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	io.WriteString(w, `{"error":{"code":"sendQuota","message":"slow down","wait":7200}}`)
	w.Close()
	synctest.Test(t, func(t *testing.T) {
		tr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(403)
			w.Write(gz.Bytes())
		}))
		e := testEngine(t, Options{})
		req := request(t, t.Context(), "GET", "/items/1", "")
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := e.Transport(tr).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		out, _ := Outcome(resp)
		if out.Decision.Rule.Name != "send-quota" || !bytes.Equal(body, gz.Bytes()) || err != nil {
			t.Errorf("Transport: rule %q, %d bytes of body, %v; want send-quota, %d bytes", out.Decision.Rule.Name, len(body), err, gz.Len())
		}

		err = e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "b"}}, func(ctx context.Context) error {
			resp, err := tr.RoundTrip(req)
			if err != nil {
				return err
			}
			return e.CheckResponse(ctx, resp)
		})
		if later, ok := errors.AsType[*DeferError](err); !ok || later.Decision.Rule.Name != "send-quota" {
			t.Errorf("Do: got %v, want it deferred by send-quota", err)
		}
	})
}
