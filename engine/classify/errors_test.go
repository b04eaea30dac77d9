package classify_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The shapes of the errors of libraries that are no dependencies. Each repeats
// the exported fields and methods of the type that it is named after.
type (
	googleapiError struct { // google.golang.org/api/googleapi.Error
		Code    int
		Message string
		Details []interface{}
		Body    string
		Header  http.Header
		Errors  []struct{ Reason, Message string }
	}
	retrieveError struct { // golang.org/x/oauth2.RetrieveError
		Response         *http.Response
		Body             []byte
		ErrorCode        string
		ErrorDescription string
		ErrorURI         string
	}
	azcoreError struct { // github.com/Azure/azure-sdk-for-go/sdk/azcore/exported.ResponseError
		ErrorCode   string
		StatusCode  int
		RawResponse *http.Response
	}
	kiotaHeaders  struct{ headers map[string][]string }
	kiotaAPIError struct { // github.com/microsoft/kiota-abstractions-go.ApiError
		Message            string
		ResponseStatusCode int
		ResponseHeaders    *kiotaHeaders
	}
	odataMain  struct{ code, message string }
	odataError struct { // github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors.ODataError
		kiotaAPIError
		main *odataMain
	}
	imapStatusType string
	imapCode       string
	imapV2Error    struct { // github.com/emersion/go-imap/v2.Error
		Type imapStatusType
		Code imapCode
		Text string
	}
	imapV1Resp struct { // github.com/emersion/go-imap.StatusResp
		Tag       string
		Type      imapStatusType
		Code      imapCode
		Arguments []interface{}
		Info      string
	}
	imapV1Error struct{ Resp *imapV1Resp } // github.com/emersion/go-imap.ErrStatusResp
	smtpError   struct {                   // github.com/emersion/go-smtp.SMTPError
		Code         int
		EnhancedCode [3]int
		Message      string
	}
	HTTPError struct { // github.com/emersion/go-webdav internal.HTTPError
		Code int
		Err  error
	}
)

func (*googleapiError) Error() string { return "googleapi" }
func (*retrieveError) Error() string  { return "oauth2" }
func (*azcoreError) Error() string    { return "azcore" }
func (*odataError) Error() string     { return "odata" }
func (*imapV2Error) Error() string    { return "imap" }
func (*imapV1Error) Error() string    { return "imap" }
func (*smtpError) Error() string      { return "smtp" }
func (*HTTPError) Error() string      { return "webdav" }

func (h *kiotaHeaders) ListKeys() []string {
	var keys []string
	for k := range h.headers {
		keys = append(keys, k)
	}
	return keys
}
func (h *kiotaHeaders) Get(k string) []string { return h.headers[k] }
func (m *odataMain) GetCode() *string         { return &m.code }
func (m *odataMain) GetMessage() *string      { return &m.message }

// GetErrorEscaped returns an interface, as the generated code does.
func (e *odataError) GetErrorEscaped() interface {
	GetCode() *string
	GetMessage() *string
} {
	return e.main
}

// seekBody is a body that was read into memory and can be read again.
type seekBody struct{ *bytes.Reader }

func (seekBody) Close() error { return nil }

func TestError(t *testing.T) {
	const quota = `{"error":{"errors":[{"domain":"usageLimits","reason":"rateLimitExceeded"}],"code":403,"message":"Rate Limit Exceeded"}}`
	replay := seekBody{bytes.NewReader([]byte(quota))}
	replay.Seek(0, io.SeekEnd)
	for _, tt := range []struct {
		name string
		err  error
		want rules.Event // Protocol, Status, IMAPStatus, Codes, Message, RetryAfter
	}{
		{"net/textproto", fmt.Errorf("send: %w", &textproto.Error{Code: 552, Msg: "5.2.3 Your message\n5.2.3 is too big"}),
			rules.Event{Protocol: "smtp", Status: 552, Codes: []string{"5.2.3"}, Message: "Your message is too big"}},
		{"net/textproto without a code", &textproto.Error{Msg: "short"}, rules.Event{Protocol: "smtp", Message: "short"}},
		{"go-smtp", &smtpError{550, [3]int{5, 4, 5}, "Daily user sending quota exceeded."},
			rules.Event{Protocol: "smtp", Status: 550, Codes: []string{"5.4.5"}, Message: "Daily user sending quota exceeded."}},
		{"go-smtp without an enhanced code", &smtpError{421, [3]int{-1, -1, -1}, "bye"}, rules.Event{Protocol: "smtp", Status: 421, Message: "bye"}},
		{"go-imap v2", fmt.Errorf("select: %w", &imapV2Error{"NO", "UNAVAILABLE", "down"}),
			rules.Event{Protocol: "imap", IMAPStatus: "NO", Codes: []string{"UNAVAILABLE"}, Message: "down"}},
		{"go-imap v2 without a code", &imapV2Error{"BAD", "", "User is authenticated but not connected."},
			rules.Event{Protocol: "imap", IMAPStatus: "BAD", Message: "User is authenticated but not connected."}},
		{"go-imap v1", &imapV1Error{&imapV1Resp{Type: "NO", Code: "LIMIT", Info: "x"}},
			rules.Event{Protocol: "imap", IMAPStatus: "NO", Codes: []string{"LIMIT"}, Message: "x"}},
		{"googleapi", &googleapiError{Code: 403, Body: quota, Header: headers("Retry-After", "7")},
			rules.Event{Protocol: "http", Status: 403, Codes: []string{"rateLimitExceeded"}, Message: "Rate Limit Exceeded", RetryAfter: 7 * time.Second}},
		{"googleapi, joined with another", errors.Join(errors.New("x"), &googleapiError{Code: 403, Body: quota}),
			rules.Event{Protocol: "http", Status: 403, Codes: []string{"rateLimitExceeded"}, Message: "Rate Limit Exceeded"}},
		{"oauth2", &retrieveError{Response: &http.Response{StatusCode: 400, Header: headers("Content-Type", "application/json")}, Body: []byte(`{"error":{"message":"m"}}`)},
			rules.Event{Protocol: "http", Status: 400, Message: "m"}},
		{"azcore, body in memory", &azcoreError{StatusCode: 403, RawResponse: &http.Response{StatusCode: 403, Body: replay}},
			rules.Event{Protocol: "http", Status: 403, Codes: []string{"rateLimitExceeded"}, Message: "Rate Limit Exceeded"}},
		{"azcore, body on the network", &azcoreError{RawResponse: &http.Response{StatusCode: 403, Body: io.NopCloser(strings.NewReader(quota))}},
			rules.Event{Protocol: "http", Status: 403}},
		{"OData", &odataError{kiotaAPIError{ResponseStatusCode: 429, ResponseHeaders: &kiotaHeaders{map[string][]string{"retry-after": {"10"}}}}, &odataMain{"ApplicationThrottled", `over its "limit"`}},
			rules.Event{Protocol: "http", Status: 429, Message: `over its "limit"`, RetryAfter: 10 * time.Second}},
		{"OData without anything but a status", &odataError{kiotaAPIError: kiotaAPIError{ResponseStatusCode: 503}}, rules.Event{Protocol: "http", Status: 503}},
		{"go-webdav", &HTTPError{Code: 507, Err: errors.New("x")}, rules.Event{Protocol: "http", Status: 507}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEvent()
			classify.Error(google, &classify.Failure{Err: tt.err}, e)
			got := rules.Event{Protocol: e.Protocol, Status: e.Status, IMAPStatus: e.IMAPStatus, Codes: e.Codes, Message: e.Message, RetryAfter: e.RetryAfter}
			checkSame(t, tt.err, &tt.want, &got)
			if !e.Sent || e.Network != "" || e.Provider != "gmail" {
				t.Errorf("given %v\ngot  sent %v network %q provider %q", tt.err, e.Sent, e.Network, e.Provider)
			}
			traced := newEvent()
			classify.Error(google, &classify.Failure{Err: tt.err, Now: arrival, Trace: new(classify.Trace)}, traced)
			checkSame(t, tt.err, e, traced)
		})
	}
	if at, _ := replay.Seek(0, io.SeekCurrent); at != int64(len(quota)) {
		t.Errorf("the body was left at %d, not where it was", at)
	}
}

// retryErrors is a list of errors like that of avast/retry-go.
type retryErrors []error

func (e retryErrors) Error() string          { return errors.Join(e...).Error() }
func (e retryErrors) WrappedErrors() []error { return e }

// What refused one attempt does not speak for another that was lost.
func TestErrorJoined(t *testing.T) {
	unnamed := &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
	busy, failed := &googleapiError{Code: 429, Body: "x"}, &googleapiError{Code: 503, Body: "x"}
	for _, tt := range []struct {
		name string
		err  error
		want rules.Event // Status, IMAPStatus, Network
	}{
		{"lost, refused", errors.Join(io.ErrUnexpectedEOF, busy), rules.Event{Network: "eof"}},
		{"refused, lost", fmt.Errorf("backup: %w, primary: %w", busy, io.ErrUnexpectedEOF), rules.Event{Network: "eof"}},
		{"lost, refused, in a list", retryErrors{io.ErrUnexpectedEOF, busy}, rules.Event{Network: "eof"}},
		{"lost, refused, deeper", errors.Join(fmt.Errorf("a: %w", errors.Join(errors.New("x"), io.EOF)), errors.Join(errors.New("y"), busy)), rules.Event{Network: "eof"}},
		{"no connection, refused", errors.Join(unnamed, busy), rules.Event{Status: 429}},
		{"nothing about the network, refused", fmt.Errorf("%w: %w", errors.New("sync"), busy), rules.Event{Status: 429}},
		{"refused, failed", errors.Join(busy, failed), rules.Event{Status: 503}},
		{"lost, failed", errors.Join(io.ErrUnexpectedEOF, failed), rules.Event{Status: 503}},
		{"refused twice", errors.Join(&googleapiError{Code: 404, Body: "x"}, busy), rules.Event{Status: 404}},
		{"SMTP, lost", errors.Join(&smtpError{450, [3]int{4, 2, 0}, "x"}, io.EOF), rules.Event{Network: "eof"}},
		{"SMTP", errors.Join(errors.New("x"), &smtpError{450, [3]int{4, 2, 0}, "x"}), rules.Event{Status: 450}},
		{"IMAP, lost", errors.Join(&imapV2Error{"NO", "LIMIT", "x"}, io.EOF), rules.Event{Network: "eof"}},
		{"IMAP, closing", errors.Join(&imapV2Error{"BYE", "", "x"}, io.EOF), rules.Event{IMAPStatus: "BYE"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEvent()
			classify.Error(nil, &classify.Failure{Err: tt.err}, e)
			if e.Status != tt.want.Status || e.IMAPStatus != tt.want.IMAPStatus || e.Network != tt.want.Network || !e.Sent {
				t.Errorf("given %q\ngot  status %d %q network %q sent %v\nwant status %d %q network %q sent", tt.err,
					e.Status, e.IMAPStatus, e.Network, e.Sent, tt.want.Status, tt.want.IMAPStatus, tt.want.Network)
			}
		})
	}
}

// hostile errors do what errors should not.
type (
	nilInside     struct{ *imapV1Resp }
	panicky       struct{ Code int }
	loop          struct{}
	stringsInside struct{ Type, Code, Text string }
	foreignCode   struct {
		Code       int
		A, B, C, D string
	}
)

func (*nilInside) Error() string         { return "x" }
func (*panicky) Error() string           { return "x" }
func (*panicky) GetErrorEscaped() string { panic("no") }
func (loop) Error() string               { return "x" }
func (l loop) Unwrap() error             { return l }
func (stringsInside) Error() string      { return "x" }
func (foreignCode) Error() string        { return "x" }

func TestErrorHostile(t *testing.T) {
	for _, err := range []error{
		nil,
		&nilInside{},
		(*nilInside)(nil),
		(*textproto.Error)(nil),
		(*imapV1Error)(nil),
		&imapV1Error{},
		&panicky{Code: 500},
		loop{},
		stringsInside{"a", "b", "c"},
		foreignCode{Code: 404},
		&googleapiError{Code: 7},
		&retrieveError{Response: nil},
		&odataError{},
	} {
		t.Run(fmt.Sprintf("%T", err), func(t *testing.T) {
			e := newEvent()
			func() {
				defer func() {
					// The types above panic in Error of a nil pointer only when asked for text.
					if r := recover(); r != nil {
						t.Errorf("given %T\ngot  panic %v", err, r)
					}
				}()
				classify.Error(google, &classify.Failure{Err: err}, e)
			}()
			if e.Status != 0 || e.IMAPStatus != "" || e.Network != "" || !e.Sent {
				t.Errorf("given %T\ngot  %+v\nwant nothing known", err, e)
			}
		})
	}
}

// What the caller knows of a call stays.
func TestErrorKeeps(t *testing.T) {
	e := &rules.Event{Operation: "messages.send", Method: "POST", Protocol: "http", Attempt: 2, Elapsed: 3, Idempotent: true, Status: 999, Network: "x", Codes: []string{"old"}}
	classify.Error(google, &classify.Failure{Err: &googleapiError{Code: 503, Body: "x"}}, e)
	want := &rules.Event{Provider: "gmail", Operation: "messages.send", Method: "POST", Protocol: "http", Attempt: 2, Elapsed: 3, Idempotent: true, Status: 503, Sent: true, Body: "x"}
	checkSame(t, "googleapi 503", want, e)
	e = &rules.Event{Operation: "DATA", Method: "DATA", Protocol: "smtp"}
	classify.Error(nil, &classify.Failure{Err: io.EOF}, e)
	want = &rules.Event{Operation: "DATA", Method: "DATA", Protocol: "smtp", Network: "eof", Sent: true}
	checkSame(t, "EOF", want, e)
	e = &rules.Event{Operation: "UID FETCH"}
	classify.Error(&policy.Policy{Name: "gmail_imap", Protocol: "imap"}, &classify.Failure{Err: io.EOF}, e)
	want = &rules.Event{Provider: "gmail_imap", Operation: "UID FETCH", Protocol: "imap", Network: "eof", Sent: true}
	checkSame(t, "EOF", want, e)
	e = &rules.Event{}
	classify.Error(google, &classify.Failure{Err: &googleapiError{Code: 429, Body: `{"error":{"message":"Retry after 2026-09-11T20:00:00Z"}}`}, Now: arrival}, e)
	if e.RetryAfter != 30*time.Second {
		t.Errorf("got wait %v, want 30s", e.RetryAfter)
	}
}
