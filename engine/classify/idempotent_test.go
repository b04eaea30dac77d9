package classify_test

import (
	"net/http"
	"testing"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
)

func TestIdempotent(t *testing.T) {
	p := &policy.Policy{Idempotent: []string{"messages.modify", "labels.*", "NOTIFY"}}
	for _, tt := range []struct {
		protocol, method, operation string
		header                      http.Header
		want                        bool
	}{
		{"http", "GET", "", nil, true},
		{"http", "get", "", nil, true},
		{"http", "PUT", "events.update", nil, true},
		{"http", "DELETE", "", nil, true},
		{"http", "PROPFIND", "", nil, true},
		{"http", "REPORT", "", nil, true},
		{"http", "MOVE", "", nil, true},
		{"http", "QUERY", "", nil, true},
		{"http", "POST", "", nil, false},
		{"http", "PATCH", "", nil, false},
		{"http", "LOCK", "", nil, false},
		{"http", "CONNECT", "", nil, false},
		{"http", "BREW", "", nil, false},
		{"http", "", "", nil, false},
		{"http", "", "messages.get", nil, false},
		{"http", "POST", "messages.modify", nil, true},
		{"http", "POST", "labels.create", nil, true},
		{"http", "POST", "messages.send", nil, false},
		{"http", "POST", "", headers("Idempotency-Key", `"8e03978e"`), true},
		{"http", "POST", "", headers("X-Idempotency-Key", `"8e03978e"`), true},
		{"http", "POST", "", headers("idempotency-key", "x"), true},
		{"http", "POST", "", headers("Idempotency-Key", " "), false},
		{"imap", "FETCH", "", nil, true},
		{"imap", "UID FETCH", "", nil, true},
		{"imap", "", "UID SEARCH", nil, true},
		{"imap", "LOGIN", "", nil, true},
		{"imap", "IDLE", "", nil, true},
		{"imap", "EXPUNGE", "", nil, true},
		{"imap", "APPEND", "", nil, false},
		{"imap", "append", "", nil, false},
		{"imap", "COPY", "", nil, false},
		{"imap", "UID COPY", "", nil, false},
		{"imap", "uid  move", "", nil, false},
		{"imap", "MOVE", "", nil, false},
		{"imap", "STORE", "", nil, false},
		{"imap", "UID STORE", "", nil, false},
		{"imap", `UID STORE 1:5 FLAGS.SILENT (\Seen)`, "", nil, true},
		{"imap", `STORE 1 +FLAGS (\Deleted)`, "", nil, false},
		{"imap", "", "", nil, false},
		{"smtp", "EHLO", "", nil, true},
		{"smtp", "RCPT", "", nil, true},
		{"smtp", "", "MAIL FROM", nil, true},
		{"smtp", "DATA", "", nil, false},
		{"smtp", "BDAT", "", nil, false},
		{"smtp", ".", "", nil, false},
		{"smtp", "", "", nil, false},
		{"smtp", "NOTIFY", "NOTIFY", nil, true},
	} {
		if got := classify.Idempotent(p, tt.protocol, tt.method, tt.operation, tt.header); got != tt.want {
			t.Errorf("given %s %q %q %v\ngot  %v\nwant %v", tt.protocol, tt.method, tt.operation, tt.header, got, tt.want)
		}
	}
	if !classify.Idempotent(nil, "http", "GET", "x", nil) || classify.Idempotent(nil, "http", "POST", "x", nil) {
		t.Error("without a policy: want GET and not POST")
	}
}
