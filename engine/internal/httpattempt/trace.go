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
	"github.com/recourse-go/recourse/internal/neterr"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/rules"
)

// net/http repeats some requests by itself. Over HTTP/1.1 it repeats a request that is not
// idempotent only if none of it was written. Over HTTP/2 it repeats any request, at once and
// any number of times, whose stream was refused or was beyond a GOAWAY, which is safe, but
// also any whose stream was reset with PROTOCOL_ERROR, which the server may have carried out.
// Limits, budget and backoff do not see these repeats. So over HTTP/2 a try must send its
// request only once:
//
//   - a request with a body gets no GetBody, so that net/http returns the reason
//     ("cannot retry err […]");
//   - a request without a body is cut off by its trace when net/http gets another
//     connection for it after the headers were written. If that is the same connection,
//     the stream was refused, since after a GOAWAY or a PROTOCOL_ERROR net/http does not
//     use the connection any more. Otherwise the reason is not known.
//
// A request that was certainly not processed is repeated by roundTrip.attempt, the first time
// at once and without cost, and after that by the loop.

// ErrAgain is the error of a try that its trace has cut off.
var ErrAgain = redact.New("engine: the server ended the request's stream without an answer, and the base transport would have sent it again")

// Trace is what httptrace has seen of one try.
type Trace struct {
	plain bool   // the base is an *http.Transport
	once  bool   // see sentOnce
	host  string // the authority of the request's URL
	cut   func() // ends the try; nil = the base cannot repeat the request

	mu      sync.Mutex
	addr    string   // the address of the connection that was asked for first
	asked   bool     // a connection was asked for
	got     bool     // there was a connection that may have carried the request
	conns   int      // how many connections there were
	foreign bool     // a dial has asked for connections of its own in this context
	http2   bool     // the request goes over HTTP/2
	wrote   bool     // its headers were written over HTTP/2, and no answer has come since
	again   bool     // the base was about to send the request again
	conn    net.Conn // the latest connection
	refused bool     // the base was about to, because the stream had been refused
}

// hooks returns the hooks of the trace for httptrace.
func (t *Trace) hooks() *httptrace.ClientTrace {
	h := &httptrace.ClientTrace{GetConn: t.getConn, GotConn: t.gotConn, WroteHeaderField: t.wroteField}
	if !t.plain {
		// Another base than net/http may send a request again on purpose after an
		// answer, for example with a credential.
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
	own := addr == t.addr || hostport.Host(addr) == hostport.Host(t.host) // t.addr may be that of a proxy
	switch {
	case !own && !t.wrote:
		t.foreign = true // a dial has the same context, and may ask for connections of its own
	case t.wrote && own && t.foreign:
		t.stopLocked()
	case t.wrote: // gotConn knows more, and decides
	case own && t.once:
		t.got = false // net/http asks again only if the connection before has carried nothing
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
		t.stopLocked()
		if secure && !t.http2 {
			conn.Close() // over HTTP/1.1 net/http would write although the context has ended
		}
		return
	}
	t.got, t.conn = true, info.Conn
	// The base may get one useless connection after the other, without end.
	if t.conns++; t.conns > 2 && t.http2 && !t.foreign {
		t.stopLocked()
	}
}

// same reports whether a and b are certainly the same connection.
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

// stopLocked ends the try, since the base is about to send the request again.
func (t *Trace) stopLocked() {
	t.again = true
	if t.cut != nil {
		t.cut()
	}
}

// Stopped reports whether the base was about to send the request again.
func (t *Trace) Stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.again
}

// body returns a GetBody that fails if the server may have seen the request.
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

// NewTrace returns the trace of a try of req over base, which is expected to use a version of
// HTTP. cut ends the try; nil = net/http cannot repeat the request.
//
// The trace tells whether the request ever had a connection, since a request without one can
// be repeated whatever it does. That the trace has seen no write does not prove that nothing
// was sent: over HTTP/2 net/http writes in another goroutine, and reports it only after the
// bytes are gone.
func NewTrace(req *http.Request, base http.RoundTripper, expected Version, cut func()) *Trace {
	_, plain := base.(*http.Transport)
	return &Trace{plain: plain, host: Authority(req), http2: expected == HTTP2, cut: cut}
}

// WithTrace returns ctx with the hooks of t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return httptrace.WithClientTrace(ctx, t.hooks())
}

// Once changes req so that the base does not send it twice, as far as that can be done before
// it is sent. Over HTTP/1.1 the request keeps its GetBody: net/http uses it only if nothing
// was written, and without it the error does not say that nothing was. If the version is not
// known, the request gets none. A nil Trace does nothing.
func (t *Trace) Once(req *http.Request, expected Version) {
	if t == nil {
		return
	}
	if !sentOnce(req) && !keyed(req.Header) {
		// Even an empty idempotency key makes net/http repeat a request.
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

// sentOnce reports whether http.Transport, over HTTP/1.1, asks for another connection for req
// only if the one before has carried nothing. That is so if neither the method nor a header
// makes req idempotent for net/http.
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

// Unprocessed reports whether the server certainly never looked at the request of the try,
// which ended with err, although it had a connection. t may be nil.
func (t *Trace) Unprocessed(err error) bool {
	if t == nil {
		return neterr.Unprocessed(err)
	}
	t.mu.Lock()
	again, known, conns := t.again, t.refused || !t.wrote, t.conns
	t.mu.Unlock()
	if again {
		return known
	}
	// Another base than net/http may have sent the request on an earlier connection.
	return (t.plain || conns <= 1) && neterr.Unprocessed(err)
}

// HadConn reports whether the base reported a connection of the try. t may be nil.
func (t *Trace) HadConn() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns > 0
}

// Refine corrects e.Sent and e.Network by what an error alone cannot tell: a request that
// never had a connection has not reached the server, and one that had one may have reached
// it, unless net/http proves otherwise. known says that the calling code has classified the
// error: then Refine only ever sets Sent to false. t may be nil.
func (t *Trace) Refine(e *rules.Event, err error, known bool) {
	if t == nil {
		return
	}
	t.mu.Lock()
	asked, got, again := t.asked, t.got, t.again
	t.mu.Unlock()
	if !asked {
		return // the base reports nothing
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

// refusedForGood reports whether an error that came instead of a connection means that a proxy
// refuses a tunnel permanently. Of a proxy's answer to CONNECT, net/http returns only the text
// of the status.
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
