package enginetest

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// A worker's own URLs work: those of its provider say https.
func TestTransportReachesItsServersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewGmail(Options{Faultless: true, Mailboxes: 1})
		defer s.Close()
		client := &http.Client{Transport: NewTransport(s)}
		for _, tt := range []struct{ url, want string }{
			{"http://gmail.googleapis.com/gmail/v1/users/me/messages", ""},
			{"https://gmail.googleapis.com/gmail/v1/users/me/messages", ""},
			{"https://gmail.googleapis.com:443/gmail/v1/users/me/messages", ""},
			{"http://graph.microsoft.com/v1.0/me/messages", "no such server"},
			{"https://graph.microsoft.com/v1.0/me/messages", "no such server"},
		} {
			resp, err := client.Get(tt.url)
			if err == nil {
				resp.Body.Close()
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: error %v, want %q", tt.url, err, tt.want)
			}
		}
	})
}
