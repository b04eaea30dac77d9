package classify

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/neterr"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
	"github.com/tidwall/gjson"
)

// Failure is an error that a client library returned in place of an answer.
type Failure struct {
	Err error
	// Now is when the error occurred. It is used only if the answer inside the error
	// has no Date. Zero means the current time.
	Now time.Time
	// Trace, if it is not nil, records where each fact came from.
	Trace *Trace
}

// Error fills e with the facts of an error that a client library returned. In the error
// and all errors that it wraps, Error looks for, in this order:
//
//   - an answer of the provider: *net/textproto.Error and the errors of
//     emersion/go-smtp (SMTP), of emersion/go-imap v1 and v2 (IMAP), and those
//     that carry an HTTP response or its status beside headers or a body:
//     googleapi.Error, oauth2.RetrieveError, Microsoft's OData and azcore
//     errors, and whatever has the same fields;
//   - an error below the protocol, such as a timeout or a broken connection.
//
// These are recognised by the names and types of their exported fields, so that none of
// the libraries is a dependency. An error that is not recognised, or that wraps more than
// 1000 others, leaves e without status and network kind, and with Sent true.
//
// If the error joins several others, an answer that leaves open whether the request was
// carried out (HTTP 5xx) counts first, then a request that was lost, then a refusal (HTTP
// 4xx), since the refusal of one attempt says nothing about the others.
//
// The error must be about one request. A client that follows redirects, repeats requests
// by itself or makes several returns the error of the last one, and an error of "dial" then
// looks as if nothing had been sent although an earlier request was carried out. Where that
// matters, turn the client's own retries off, keep http.Client from following redirects of
// requests that change something (its CheckRedirect), or set Sent in a hook that classifies.
//
// The caller sets e's Operation, Method, Attempt, Elapsed and Idempotent; they stay as they
// are. Protocol is that of the error, else what the caller set, else the policy's. p may be
// nil.
func Error(p *policy.Policy, f *Failure, e *rules.Event) (rep Report) {
	err, t := f.Err, f.Trace
	operation, method, spoken := e.Operation, e.Method, e.Protocol
	if spoken == "" && p != nil {
		spoken = p.Protocol
	}
	*e = rules.Event{
		Provider: e.Provider, Operation: operation, Method: method, Protocol: spoken,
		Attempt: e.Attempt, Elapsed: e.Elapsed, Idempotent: e.Idempotent, Sent: true,
	}
	if p != nil {
		e.Provider = p.Name
	}
	if err == nil {
		return Report{}
	}
	tree, whole := errtree.Grow(err)
	if !whole {
		return Report{}
	}
	a := answerIn(&tree)
	if a == nil {
		lost := neterr.Of(&tree)
		e.Network, e.Sent = lost.Kind, lost.Sent
		if e.Network != "" {
			t.add("network", "error "+reflect.TypeOf(err).String(), e.Network, "")
		}
		return Report{}
	}
	command := method
	if command == "" {
		command = operation
	}
	if a.spoken.Reply != nil {
		rep = Read(p, a.spoken.Name, &Reply{Command: command, Text: a.reply, Now: f.Now, Trace: t}, e)
	} else {
		a.http.Operation, a.http.Method, a.http.Now, a.http.Trace = operation, method, f.Now, t
		rep = HTTP(p, &a.http, e)
	}
	if operation != "" {
		e.Operation = operation
	}
	return rep
}

// answer is a provider's answer, as far as an error holds it.
type answer struct {
	spoken *protocol.Protocol
	reply  string   // SMTP and IMAP only
	http   Response // HTTP only
}

// answerIn returns the outermost answer that an error holds, or nil. Of joined errors it
// returns an answer that leaves open whether the request was carried out, else a refusal.
// But if one of the others is a request that was lost, it returns nil instead of a refusal,
// so that the failure of the network counts.
func answerIn(t *errtree.Tree) *answer {
	a := new(answer)
	for ; !readShape(t.Err, a); t = &t.Kids[0] {
		if t.Joined {
			return joinedAnswer(t)
		}
		if len(t.Kids) == 0 {
			return nil
		}
	}
	return a
}

// joinedAnswer is answerIn for joined errors.
func joinedAnswer(t *errtree.Tree) *answer {
	var refusal *answer
	var others []*errtree.Tree
	for i := range t.Kids {
		switch a := answerIn(&t.Kids[i]); {
		case a == nil:
			others = append(others, &t.Kids[i])
		case !a.refused():
			return a
		case refusal == nil:
			refusal = a
		}
	}
	if refusal == nil {
		return nil
	}
	for _, t := range others {
		if f := neterr.Of(t); f.Sent && f.Kind != "" {
			return nil
		}
	}
	return refusal
}

// refused reports whether the request was surely not carried out.
func (a *answer) refused() bool {
	e := rules.Event{Status: a.http.Status}
	Read(nil, a.spoken.Name, &Reply{Text: a.reply}, &e)
	return a.spoken.Refused(&e)
}

// readShape reports whether err itself holds an answer.
func readShape(err error, a *answer) (ok bool) {
	defer func() {
		if recover() != nil { // a method of a foreign error may panic
			ok = false
		}
	}()
	if t, is := err.(*textproto.Error); is {
		if t == nil {
			return false
		}
		a.spoken, a.reply = protocol.SMTP, smtpReply(t.Code, "", t.Msg)
		return true
	}
	v := reflect.ValueOf(err)
	for range 4 {
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
			break
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return false
	}
	return readIMAPShape(v, a) || readSMTPShape(v, a) || readHTTPShape(err, v, a)
}

// readIMAPShape recognises *imap.Error of go-imap v2, whose fields are Type, Code and Text,
// and *imap.ErrStatusResp of v1, whose Resp has Type, Code and Info.
func readIMAPShape(v reflect.Value, a *answer) bool {
	if resp := v.FieldByName("Resp"); resp.Kind() == reflect.Pointer && resp.Elem().Kind() == reflect.Struct {
		v = resp.Elem()
	}
	status, ok1 := stringField(v, "Type")
	code, ok2 := stringField(v, "Code")
	text, ok3 := stringField(v, "Text")
	if !ok3 {
		text, ok3 = stringField(v, "Info")
	}
	if !ok1 || !ok2 || !ok3 || imapStatus(status) == "" {
		return false
	}
	a.spoken, a.reply = protocol.IMAP, "* "+status
	if code != "" {
		a.reply += " [" + code + "]"
	}
	a.reply += " " + text
	return true
}

// readSMTPShape recognises *smtp.SMTPError of emersion/go-smtp, whose fields are Code,
// EnhancedCode and Message.
func readSMTPShape(v reflect.Value, a *answer) bool {
	enhanced := v.FieldByName("EnhancedCode")
	code, ok1 := intField(v, "Code")
	msg, ok2 := stringField(v, "Message")
	if !ok1 || !ok2 || enhanced.Kind() != reflect.Array || enhanced.Len() != 3 || !enhanced.Index(0).CanInt() {
		return false
	}
	var dotted string
	if enhanced.Index(0).Int() > 0 {
		dotted = strconv.FormatInt(enhanced.Index(0).Int(), 10) + "." +
			strconv.FormatInt(enhanced.Index(1).Int(), 10) + "." +
			strconv.FormatInt(enhanced.Index(2).Int(), 10)
	}
	a.spoken, a.reply = protocol.SMTP, smtpReply(code, dotted, msg)
	return true
}

// smtpReply builds a reply as a server sends it. Without a valid code it is msg alone.
func smtpReply(code int, enhanced, msg string) string {
	if enhanced != "" {
		msg = enhanced + " " + msg
	}
	if code < 200 || code > 599 {
		return msg
	}
	return strconv.Itoa(code) + " " + strings.ReplaceAll(msg, "\n", "\n"+strconv.Itoa(code)+" ")
}

// readHTTPShape recognises errors that have an *http.Response, or a status together with
// headers, a body, or a code of the provider's own, or a status in a field or type whose
// name says that it is one of HTTP.
func readHTTPShape(err error, v reflect.Value, a *answer) bool {
	r := &a.http
	*r, a.spoken = Response{}, protocol.HTTP
	var body []byte
	for _, name := range [...]string{"Body", "RawBody", "ResponseBody"} {
		if f := v.FieldByName(name); f.Kind() == reflect.String {
			body = []byte(f.String())
		} else if f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Uint8 && f.CanInterface() {
			body = bytes.Clone(f.Bytes())
		}
		if len(body) > 0 {
			break
		}
	}
	body = retrievedBody(v, body)
	for _, name := range [...]string{"Response", "RawResponse", "Resp"} {
		if f := v.FieldByName(name); f.IsValid() && f.CanInterface() {
			if resp, ok := f.Interface().(*http.Response); ok && resp != nil {
				r.Status, r.Header, r.Body = resp.StatusCode, resp.Header, body
				if len(body) == 0 {
					r.Body = replayedBody(resp)
				}
				return r.Status > 0
			}
		}
	}
	status, named := 0, false
	for _, name := range [...]string{"ResponseStatusCode", "StatusCode", "HTTPStatusCode", "HTTPCode", "Status", "Code"} {
		if n, ok := intField(v, name); ok && 100 <= n && n <= 599 {
			status, named = n, name != "Status" && name != "Code"
			break
		}
	}
	if status == 0 {
		return false
	}
	header, hasHeader := headerField(v)
	code, message := ownWords(err)
	switch {
	case len(body) > 0:
	case code != "" || message != "":
		body = append(body, `{"error":{"code":`...)
		body = gjson.AppendJSONString(body, code)
		body = append(body, `,"message":`...)
		body = gjson.AppendJSONString(body, message)
		body = append(body, `}}`...)
	case !hasHeader && !named && !strings.Contains(strings.ToLower(v.Type().Name()), "http"):
		return false // the number may be another kind of code
	}
	r.Status, r.Header, r.Body = status, header, body
	return true
}

// retrievedBody returns the body of golang.org/x/oauth2's RetrieveError as JSON. Some token
// endpoints answer in the form encoding, as GitHub does unless it is asked for JSON, so
// the body is then built from the fields that the error has read from it. For other errors
// it returns body.
func retrievedBody(v reflect.Value, body []byte) []byte {
	code, _ := stringField(v, "ErrorCode")
	description, ok := stringField(v, "ErrorDescription")
	if !ok || code == "" || gjson.ValidBytes(body) {
		return body
	}
	b := gjson.AppendJSONString([]byte(`{"error":`), code)
	b = gjson.AppendJSONString(append(b, `,"error_description":`...), description)
	return append(b, '}')
}

// headerField returns the field Header, Headers or ResponseHeaders of an error. That of
// Kiota's errors is a type with methods.
func headerField(v reflect.Value) (http.Header, bool) {
	for _, name := range [...]string{"Header", "Headers", "ResponseHeaders"} {
		f := v.FieldByName(name)
		if !f.IsValid() || !f.CanInterface() {
			continue
		}
		switch h := f.Interface().(type) {
		case http.Header:
			return h, true
		case map[string][]string:
			return h, true
		case interface {
			ListKeys() []string
			Get(string) []string
		}:
			if f.Kind() == reflect.Pointer && f.IsNil() {
				continue
			}
			out := make(http.Header)
			for _, k := range h.ListKeys() {
				out[k] = h.Get(k)
			}
			return out, true
		}
	}
	return nil, false
}

// ownWords returns the code and message of Microsoft Graph's ODataError, which has parsed
// the body but not kept it.
func ownWords(err error) (code, message string) {
	defer func() { _ = recover() }() // a foreign method may panic; then both are ""
	get := reflect.ValueOf(err).MethodByName("GetErrorEscaped")
	if !get.IsValid() || get.Type().NumIn() != 0 || get.Type().NumOut() != 1 {
		return "", ""
	}
	main := get.Call(nil)[0]
	if main.Kind() == reflect.Interface || main.Kind() == reflect.Pointer {
		if main.IsNil() {
			return "", ""
		}
	}
	m, ok := main.Interface().(interface {
		GetCode() *string
		GetMessage() *string
	})
	if !ok {
		return "", ""
	}
	if s := m.GetCode(); s != nil {
		code = *s
	}
	if s := m.GetMessage(); s != nil {
		message = *s
	}
	return code, message
}

// replayedBody returns the body of a response if it can be sought, which means that it is
// in memory, else nil: a body that comes from the network is the caller's to read.
func replayedBody(resp *http.Response) []byte {
	s, ok := resp.Body.(io.ReadSeeker)
	if !ok {
		return nil
	}
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	defer s.Seek(at, io.SeekStart)
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	b, _ := io.ReadAll(io.LimitReader(s, MaxBody))
	return b
}

func stringField(v reflect.Value, name string) (string, bool) {
	if v.Kind() != reflect.Struct {
		return "", false
	}
	f := v.FieldByName(name)
	if f.Kind() != reflect.String {
		return "", false
	}
	return f.String(), true
}

func intField(v reflect.Value, name string) (int, bool) {
	f := v.FieldByName(name)
	if !f.IsValid() || !f.CanInt() {
		return 0, false
	}
	return int(f.Int()), true
}
