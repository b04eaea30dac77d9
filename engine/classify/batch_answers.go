package classify

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/tidwall/gjson"
)

// batchAnswer is the response to one request of a batch.
type batchAnswer struct {
	id     string
	status int // 0 = the answer cannot be read
	header http.Header
	body   []byte
}

// batchAnswers calls yield with each answer in body, the response to a batch of requests,
// until yield returns false. The error is nil or wraps ErrBatch.
func batchAnswers(contentType string, body []byte, yield func(*batchAnswer) bool) error {
	if boundary := boundaryOf(contentType); boundary != "" {
		return multipartAnswers(body, boundary, yield)
	}
	if len(body) == 0 {
		return fmt.Errorf("%w: empty body", ErrBatch)
	}
	s := strings.TrimPrefix(unsafe.String(&body[0], len(body)), "\xef\xbb\xbf")
	var doc extract.JSON
	if extract.KindOf(s) == extract.BodyJSON {
		doc.Read(s)
	}
	return jsonAnswers(&doc, yield)
}

// boundaryOf returns the boundary of a multipart content type, or "".
func boundaryOf(contentType string) string {
	mediaType, params, _ := mime.ParseMediaType(contentType)
	if !strings.HasPrefix(mediaType, "multipart/") {
		return ""
	}
	return params["boundary"]
}

// jsonAnswers reads the answers of Microsoft Graph,
// {"responses":[{"id":"1","status":429,"headers":{…},"body":{…}}]}.
// Source: https://learn.microsoft.com/graph/json-batching, checked 2026-11.
func jsonAnswers(doc *extract.JSON, yield func(*batchAnswer) bool) (err error) {
	defer func() {
		if recover() != nil { // gjson gets bytes from outside
			err = fmt.Errorf("%w: not readable as JSON", ErrBatch)
		}
	}()
	list := gjson.Get(doc.Text(), "responses")
	if !list.IsArray() {
		return fmt.Errorf("%w: no list of responses", ErrBatch)
	}
	// Each answer is yielded only when the next one has come: the last one of a document
	// that is cut short may lack the wait that it asks for, so it is not used.
	var last gjson.Result
	more := true
	list.ForEach(func(_, v gjson.Result) bool {
		if last.IsObject() {
			more = yield(jsonAnswer(last))
		}
		last = v
		return more
	})
	switch {
	case doc.Cut():
		return fmt.Errorf("%w: cut short", ErrBatch)
	case more && last.IsObject():
		yield(jsonAnswer(last))
	}
	return nil
}

func jsonAnswer(v gjson.Result) *batchAnswer {
	a := &batchAnswer{id: v.Get("id").String(), header: make(http.Header)}
	if status := v.Get("status").Int(); 100 <= status && status <= 599 {
		a.status = int(status)
	}
	v.Get("headers").ForEach(func(k, v gjson.Result) bool {
		a.header[k.Str] = append(a.header[k.Str], extract.Scalars(v, 8)...)
		return len(a.header) < 100
	})
	switch content := v.Get("body"); content.Type {
	case gjson.JSON:
		a.body = []byte(content.Raw)
	case gjson.String:
		a.body = []byte(content.Str)
		if text, err := base64.StdEncoding.DecodeString(content.Str); err == nil && len(text) > 0 && utf8.Valid(text) {
			a.body = text // Graph encodes bodies that are not JSON in Base64
		}
	}
	return a
}

// multipartAnswers reads the answers of Google's APIs: each part of type
// application/http is an HTTP response, and its Content-ID is "<response-ID>", where ID
// is that of the request.
// Source: https://developers.google.com/workspace/gmail/api/guides/batch, checked 2026-11.
func multipartAnswers(body []byte, boundary string, yield func(*batchAnswer) bool) error {
	s := ""
	if len(body) > 0 {
		s = unsafe.String(&body[0], len(body))
	}
	delimiter := "--" + boundary
	at, _ := findDelimiter(s, delimiter)
	if at < 0 {
		return fmt.Errorf("%w: no parts", ErrBatch)
	}
	s = s[at:]
	for n := 0; ; n++ {
		s = s[len(delimiter):]
		if strings.HasPrefix(s, "--") {
			if n == 0 {
				return fmt.Errorf("%w: no parts", ErrBatch)
			}
			return nil
		}
		end := strings.IndexByte(s, '\n')
		if end < 0 {
			return fmt.Errorf("%w: cut short", ErrBatch)
		}
		s = s[end+1:]
		head, content := partHead(s)
		size := partSize(content, head.Get("Content-Length"), delimiter)
		if size < 0 {
			return fmt.Errorf("%w: cut short", ErrBatch)
		}
		a := &batchAnswer{}
		if kind := head.Get("Content-Type"); kind == "" || strings.HasPrefix(strings.ToLower(kind), "application/http") {
			a.read(content[:size])
			a.id = strings.TrimPrefix(strings.Trim(strings.TrimSpace(head.Get("Content-ID")), "<>"), "response-")
		}
		if !yield(a) {
			return nil
		}
		at, _ := findDelimiter(content[size:], delimiter)
		s = content[size+at:]
	}
}

// read reads the HTTP response that a part holds. It leaves a as it is if there is none.
func (a *batchAnswer) read(part string) {
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(part)), nil)
	if err != nil {
		return
	}
	a.body, _ = io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
}

// partHead splits the header fields off the start of s.
func partHead(s string) (textproto.MIMEHeader, string) {
	h := make(textproto.MIMEHeader)
	for n := 0; s != "" && n < 100; n++ {
		line, rest, _ := strings.Cut(s, "\n")
		s = rest
		if line = strings.TrimRight(line, "\r"); line == "" {
			break
		}
		if k, v, ok := strings.Cut(line, ":"); ok {
			h.Add(strings.TrimSpace(k), strings.TrimSpace(v))
		}
	}
	return h, s
}

// partSize returns the length of the part's content at the start of s, or -1 if it does
// not end. A Content-Length of the part, or of the response in it, counts before a
// delimiter, so that a mail which somebody made to contain the delimiter ends nothing.
func partSize(s, stated, delimiter string) int {
	if n := lengthTo(s, 0, stated, delimiter); n >= 0 {
		return n
	}
	_, status, _ := strings.Cut(s, "\n")
	if inner, body := partHead(status); len(inner) > 0 {
		if n := lengthTo(s, len(s)-len(body), inner.Get("Content-Length"), delimiter); n >= 0 {
			return n
		}
	}
	at, before := findDelimiter(s, delimiter)
	if at < 0 {
		return -1
	}
	return at - before
}

// lengthTo returns from plus the stated length if the delimiter follows there, else -1.
func lengthTo(s string, from int, stated, delimiter string) int {
	n, err := strconv.Atoi(stated)
	if err != nil || n < 0 || n > len(s)-from {
		return -1
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(s[from+n:], "\r"), "\n")
	if !strings.HasPrefix(rest, delimiter) || len(rest) == len(s)-from-n {
		return -1
	}
	return from + n
}

// findDelimiter returns the index of the first delimiter that stands at the start of a
// line of s, or -1. before is the length of the line break before it, which belongs to
// the delimiter (RFC 2046, section 5.1.1).
func findDelimiter(s, delimiter string) (at, before int) {
	for from := 0; ; {
		i := strings.Index(s[from:], delimiter)
		if i < 0 {
			return -1, 0
		}
		at = from + i
		after := s[at+len(delimiter):]
		ends := after == "" || strings.HasPrefix(after, "--") || strings.IndexByte(" \t\r\n", after[0]) >= 0
		switch {
		case !ends:
		case strings.HasSuffix(s[:at], "\r\n"):
			return at, 2
		case at == 0:
			return 0, 0
		case s[at-1] == '\n':
			return at, 1
		}
		from = at + 1
	}
}
