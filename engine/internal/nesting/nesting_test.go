package nesting

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeated(t *testing.T) {
	get := func(t *testing.T, method, url, body string) *http.Request {
		var r io.Reader
		if body != "" {
			r = strings.NewReader(body)
		}
		req, err := http.NewRequest(method, url, r)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	const url = "https://api.test/send?q=1"
	for _, tt := range []struct {
		name             string
		until            time.Duration // 0 = given up
		after            time.Duration
		account, url, to string
		want             bool
	}{
		{name: "at once", account: "a@x", url: url, to: "mail", want: true},
		{name: "just before the time is up", after: within - 1, account: "a@x", url: url, to: "mail", want: true},
		{name: "later", after: within, account: "a@x", url: url, to: "mail"},
		{name: "before it may come back", until: 3 * time.Second, after: 2 * time.Second, account: "a@x", url: url, to: "mail", want: true},
		{name: "when it may come back", until: 3 * time.Second, after: 3 * time.Second, account: "a@x", url: url, to: "mail"},
		{name: "another account", account: "b@x", url: url, to: "mail"},
		{name: "another query", account: "a@x", url: "https://api.test/send?q=2", to: "mail"},
		{name: "another body", account: "a@x", url: url, to: "letter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d Detector
				if d.Repeated(get(t, "POST", url, "mail"), "a@x") {
					t.Error("repeated before anything ended")
				}
				var until time.Time
				if tt.until > 0 {
					until = time.Now().Add(tt.until)
				}
				d.Ended(get(t, "POST", url, "mail"), "a@x", until)
				time.Sleep(tt.after)
				if got := d.Repeated(get(t, "POST", tt.url, tt.to), tt.account); got != tt.want {
					t.Errorf("repeated %t, want %t", got, tt.want)
				}
				if d.Repeated(get(t, "POST", tt.url, tt.to), tt.account) && tt.want {
					t.Error("reported twice")
				}
			})
		})
	}
}
