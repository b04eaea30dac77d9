package httpattempt

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"sync"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/hostport"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/rules"
)

// net/http repeats some requests by itself. Over HTTP/1.1 it does so with a
// request that is not idempotent only where none of it was written. Over HTTP/2 it
// repeats any request, at once and without end, whose stream was refused, or was
// beyond a GOAWAY, which is safe; and any whose stream was reset with
// PROTOCOL_ERROR, which the server may have carried out. Limits, budget and backoff
// see nothing of that. So over HTTP/2 each try sends a request once:
//
//   - one with a body gets no GetBody, so that net/http returns the reason
//     ("cannot retry err […]");
//   - one without a body is cut off by its trace when net/http gets a connection
//     for it once more after the headers were written. Where that is the same one,
//     the stream was refused: after a GOAWAY and after PROTOCOL_ERROR net/http does
//     not use the connection any more. Else the reason is not known.
//
// What was certainly not processed is repeated by roundTrip.attempt, the first time at
// once and for nothing, and then by the loop.

// ErrAgain is the error of a try that was cut off.
var ErrAgain = redact.New("engine: the server ended the request's stream without an answer, and the base transport would have sent it again")

// Trace is what httptrace has seen of one try.
type Trace struct {
	plain bool   // the base is net/http's own
	once  bool   // see sentOnce
	host  string // the authority of the request's URL
	cut   func() // ends the try; nil where the base cannot repeat the request

	mu      sync.Mutex
	addr    string // of the connection that was asked for first
	asked   bool   // a connection was asked for
	got     bool   // there was one, and it may have carried the request
	conns   int    // how many there were
	foreign bool   // a dial has made requests of its own in this context
	http2   bool
	wrote   bool // over HTTP/2, and not answered since
	again   bool // the base would have sent it again
	conn    net.Conn
	refused bool // for the reason that the stream was refused
}

// hooks are the trace as httptrace takes it.
func (t *Trace) hooks() *httptrace.ClientTrace {
	h := &httptrace.ClientTrace{GetConn: t.getConn, GotConn: t.gotConn, WroteHeaderField: t.wroteField}
	if !t.plain {
		// What was answered a base may send again on purpose, with a credential for
		// example; net/http does not.
		h.GotFirstResponseByte = func() { t.answered(true) }
		h.Got1xxResponse = func(int, textproto.MIMEHeader) error { t.answered(false); return nil }
	}
	return h
}

func (t *Trace) getConn(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.asked {
		t.asked, t.addr = true, addr
		return
	}
	own := addr == t.addr || hostport.Host(addr) == hostport.Host(t.host) // the first may be a proxy
	switch {
	case !own && !t.wrote:
		t.foreign = true // a dial has this context too, and may ask for connections of its own
	case t.wrote && own && t.foreign:
		t.stop()
	case t.wrote: // see gotConn, which tells more
	case own && t.once:
		t.got = false // net/http's word that the connection before has carried nothing
	}
}

func (t *Trace) gotConn(info httptrace.GotConnInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	conn, secure := info.Conn.(*tls.Conn)
	if secure {
		t.http2 = conn.ConnectionState().NegotiatedProtocol == "h2"
	}
	if t.wrote && !t.foreign {
		t.refused = t.plain && same(info.Conn, t.conn)
		t.stop()
		if secure && !t.http2 {
			conn.Close() // over HTTP/1.1 net/http writes without a look at the context
		}
		return
	}
	t.got, t.conn = true, info.Conn
	// Connections that are of no use as soon as they are there, without end.
	if t.conns++; t.conns > 2 && t.http2 && !t.foreign {
		t.stop()
	}
}

// same reports whether two connections are certainly one.
func same(a, b net.Conn) bool {
	return a != nil && reflect.TypeOf(a).Kind() == reflect.Pointer && a == b
}

func (t *Trace) wroteField(key string, value []string) {
	if !strings.HasPrefix(key, ":") {
		return // HTTP/1.1, or not the first field
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.foreign && (key != ":authority" || len(value) != 1 || value[0] != t.host) {
		return
	}
	t.http2, t.wrote = true, true
}

func (t *Trace) answered(yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote = t.http2 && !yes
}

// stop ends the try, since the base would send the request again. t.mu is held.
func (t *Trace) stop() {
	t.again = true
	if t.cut != nil {
		t.cut()
	}
}

// Stopped reports whether the base would have sent the request again.
func (t *Trace) Stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.again
}

// body is a GetBody that refuses where the server may have seen the request.
func (t *Trace) body(get func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		t.mu.Lock()
		t.again = t.again || t.wrote
		again := t.again
		t.mu.Unlock()
		if again {
			return nil, ErrAgain
		}
		return get()
	}
}

// NewTrace is the trace of a try of req over base that is expected to go by
// a version of HTTP. cut ends the try; nil where net/http cannot repeat the request.
//
// It reports whether the request ever had a connection, since one that had none can
// be repeated whatever it does. Whether it was written is no proof that it was not
// sent: over HTTP/2 net/http writes in another goroutine, and says so only after the
// bytes are gone.
func NewTrace(req *http.Request, base http.RoundTripper, expected Version, cut func()) *Trace {
	_, plain := base.(*http.Transport)
	return &Trace{plain: plain, host: Authority(req), http2: expected == HTTP2, cut: cut}
}

// WithTrace is ctx with the hooks of t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return httptrace.WithClientTrace(ctx, t.hooks())
}

// Once keeps the base from sending req twice, so far as that can be done before
// it is sent. Over HTTP/1.1 a GetBody is good: net/http uses it only where nothing
// was written, and without it the error does not say so. Where the protocol is not
// known before, the request gets none. A nil Trace does nothing.
func (t *Trace) Once(req *http.Request, expected Version) {
	if t == nil {
		return
	}
	if !sentOnce(req) && !keyed(req.Header) {
		// A key that says nothing makes a request idempotent to net/http.
		req.Header = req.Header.Clone()
		for _, name := range idempotencyKeys {
			delete(req.Header, name)
		}
	}
	t.once = t.plain && sentOnce(req)
	switch {
	case req.GetBody == nil:
	case expected == HTTPUnknown || expected == HTTP2:
		req.GetBody = nil
	default:
		req.GetBody = t.body(req.GetBody)
	}
}

var idempotencyKeys = [...]string{"Idempotency-Key", "X-Idempotency-Key"}

// sentOnce reports whether http.Transport asks for another connection for req,
// over HTTP/1.1, only where the one before has carried nothing: neither its method
// nor a header says to net/http that it is idempotent.
func sentOnce(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	for _, name := range idempotencyKeys {
		if _, ok := req.Header[name]; ok {
			return false
		}
	}
	return true
}

// keyed reports whether a header has an idempotency key.
func keyed(h http.Header) bool { return classify.Idempotent(nil, "http", http.MethodPost, "", h) }

// Unprocessed reports whether the try, which ended with err, is known not to have
// been looked at by the server although it had a connection.
func (t *Trace) Unprocessed(err error) bool {
	if t == nil {
		return classify.Unprocessed(err)
	}
	t.mu.Lock()
	again, known, conns := t.again, t.refused || !t.wrote, t.conns
	t.mu.Unlock()
	if again {
		return known
	}
	// Another base may have sent it before, on the connection before.
	return (t.plain || conns <= 1) && classify.Unprocessed(err)
}

// HadConn reports whether the base told of a connection that the try had.
func (t *Trace) HadConn() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns > 0
}

// Refine corrects what an error alone cannot tell: a request that never had a
// connection has not reached the server, and one that had may have, unless net/http
// or the calling code knows better.
func (t *Trace) Refine(e *rules.Event, err error, known bool) {
	if t == nil {
		return
	}
	t.mu.Lock()
	asked, got, again := t.asked, t.got, t.again
	t.mu.Unlock()
	if !asked {
		return // a base that reports nothing
	}
	switch {
	case known:
		e.Sent = e.Sent && got
	case t.Unprocessed(err):
		e.Sent = false
	default:
		e.Sent = got
	}
	switch {
	case known:
	case again:
		e.Network = rules.NetworkReset
	case got || e.Network != rules.NetworkOther:
	case refusedForGood(err):
		e.Network = ""
	default:
		e.Network = rules.NetworkConnect
	}
}

// refusedForGood reports whether the words of an error that came instead of a
// connection are those of a status by which a proxy refuses a tunnel for good. Of a
// proxy's answer to CONNECT net/http returns but the text of its status.
func refusedForGood(err error) bool {
	text := errtree.Text(err)
	for status := 400; status < 500; status++ {
		switch status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			continue
		}
		if s := http.StatusText(status); s != "" && s == text {
			return true
		}
	}
	return false
}

// OverHTTP2 reports whether the try went over HTTP/2. t must not be nil.
func (t *Trace) OverHTTP2() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.http2
}
