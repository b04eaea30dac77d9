package classify_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/rules"
)

// squeeze compresses b by one coding.
func squeeze(t testing.TB, coding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zlib":
		w = zlib.NewWriter(&out)
	case "flate":
		w, _ = flate.NewWriter(&out, flate.BestSpeed)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The facts of a compressed body are those of the plain one.
func TestContentEncoding(t *testing.T) {
	plain := []byte(`{"error":{"code":403,"message":"User-rate limit exceeded.  Retry after 2026-11-30T12:00:00.000Z","errors":[{"reason":"rateLimitExceeded"}]}}`)
	gz, zl, raw := squeeze(t, "gzip", plain), squeeze(t, "zlib", plain), squeeze(t, "flate", plain)
	long := append(bytes.TrimSuffix(plain, []byte("}")), `,"padding":"`+strings.Repeat("x", 1<<20)+`"}`...)
	latin := append([]byte(`{"error":{"message":"d`), 0xe9, 'j', 0xe0, '"', '}', '}')
	for _, tt := range []struct {
		name     string
		encoding []string
		body     []byte
		code     string
	}{
		{"gzip", []string{"gzip"}, gz, "rateLimitExceeded"},
		{"gzip, in capitals", []string{" GZIP "}, gz, "rateLimitExceeded"},
		{"x-gzip", []string{"x-gzip"}, gz, "rateLimitExceeded"},
		{"gzip, cut short", []string{"gzip"}, gz[:len(gz)-12], "rateLimitExceeded"},
		{"deflate", []string{"deflate"}, zl, "rateLimitExceeded"},
		{"deflate, without zlib", []string{"deflate"}, raw, "rateLimitExceeded"},
		{"deflate, cut short", []string{"deflate"}, zl[:len(zl)-6], "rateLimitExceeded"},
		{"both", []string{"deflate, gzip"}, squeeze(t, "gzip", zl), "rateLimitExceeded"},
		{"both, in two lines", []string{"deflate", "identity, gzip"}, squeeze(t, "gzip", zl), "rateLimitExceeded"},
		{"longer than is read", []string{"gzip"}, squeeze(t, "gzip", long), "rateLimitExceeded"},
		{"decoded already", []string{"gzip"}, plain, "rateLimitExceeded"},
		{"decoded already, deflate", []string{"deflate"}, plain, "rateLimitExceeded"},
		{"none", []string{"identity"}, plain, "rateLimitExceeded"},
		{"a coding that is not known", []string{"br"}, []byte("\x1b\x0e\x00\xf8\xff\x7f"), ""},
		{"one around another", []string{"br, gzip"}, squeeze(t, "gzip", []byte("\x1b\x0e\x80\xf8\xff\x7f")), ""},
		{"three", []string{"gzip, gzip, gzip"}, squeeze(t, "gzip", squeeze(t, "gzip", gz)), ""},
		{"nonsense", []string{"gzip"}, []byte("\x1f\x8b\x08\x00\x00"), ""},
		{"nothing", []string{"gzip"}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := slices.Clone(tt.body)
			h := http.Header{"Content-Encoding": tt.encoding, "Content-Type": {"application/json"}}
			var e rules.Event
			classify.HTTP(google, &classify.Response{Status: 403, Header: h, Body: tt.body, Now: arrival}, &e)
			if e.Code() != tt.code || !bytes.Equal(given, tt.body) || len(e.Body) > classify.MaxBody {
				t.Errorf("given %q\ngot  %q, %d bytes of text\nwant %q", tt.encoding, e.Code(), len(e.Body), tt.code)
			}
			// An error that carries the response.
			e = rules.Event{}
			classify.Error(google, &classify.Failure{Err: &bodyError{403, h, tt.body}}, &e)
			if e.Status != 403 || e.Code() != tt.code {
				t.Errorf("given an error with %q\ngot  %d %q\nwant 403 %q", tt.encoding, e.Status, e.Code(), tt.code)
			}
		})
	}
	var e rules.Event
	classify.HTTP(google, &classify.Response{Status: 403, Body: squeeze(t, "gzip", latin),
		Header: http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json; charset=iso-8859-1"}}}, &e)
	if e.Message != "déjà" {
		t.Errorf("of Latin 1 in gzip: message %q, want déjà", e.Message)
	}
}

type bodyError struct {
	StatusCode int
	Header     http.Header
	Body       []byte
}

func (*bodyError) Error() string { return "refused" }

// A bomb costs no more than a body.
func TestContentEncodingBomb(t *testing.T) {
	bomb := squeeze(t, "gzip", make([]byte, 64<<20)) // 64 KB
	h := http.Header{"Content-Encoding": {"gzip, gzip"}}
	twice := squeeze(t, "gzip", bomb)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const runs = 8
	for range runs {
		var e rules.Event
		classify.HTTP(google, &classify.Response{Status: 403, Header: h, Body: twice}, &e)
		if len(e.Body) > classify.MaxBody {
			t.Fatalf("%d bytes of text", len(e.Body))
		}
	}
	runtime.ReadMemStats(&after)
	allocated := (after.TotalAlloc - before.TotalAlloc) / runs
	if allocated > 2<<20 {
		t.Errorf("reading it allocated %d bytes, want at most 2 MiB", allocated)
	}
}

// Whatever a body holds, taking its coding off ends, and within bounds.
func FuzzContentEncoding(f *testing.F) {
	for _, coding := range []string{"gzip", "zlib", "flate"} {
		f.Add("gzip", squeeze(f, coding, []byte(jsonBody)))
		f.Add("gzip,deflate", squeeze(f, coding, squeeze(f, "gzip", []byte(jsonBody))))
		f.Add("deflate", squeeze(f, coding, []byte(jsonBody)))
	}
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		var e rules.Event
		classify.HTTP(everything, &classify.Response{
			Status: 403, Header: http.Header{"Content-Encoding": {encoding}}, Body: body, Now: arrival,
		}, &e)
		checkEvent(t, body, &e)
	})
}
