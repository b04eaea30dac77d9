package enginetest_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/recourse-go/recourse/engine/enginetest"
)

// TestRemoteTransport holds that a transport which knows only addresses, as in another
// process, reaches the servers, and that they see who comes back early.
func TestRemoteTransport(t *testing.T) {
	oauth := enginetest.NewOAuth(enginetest.OAuthOptions{Latency: 1})
	defer oauth.Close()
	gmail := enginetest.NewGmail(enginetest.Options{Faultless: true, Latency: 1, OAuth: oauth})
	defer gmail.Close()
	addresses := map[string]string{}
	for host, listen := range map[string]func() (string, error){gmail.Host(): gmail.Listen, oauth.Host(): oauth.Listen} {
		address, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		addresses[host] = address
	}
	client := &http.Client{Transport: enginetest.NewRemoteTransport(addresses)}
	mailbox := gmail.Mailboxes()[0]
	grant := oauth.Grant(mailbox)
	do := func(r *http.Request) (int, []byte) {
		t.Helper()
		r.Header.Set("Authorization", "Bearer "+grant.Access)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	status, body := do(oauth.RefreshRequest(grant.Refresh))
	if status != http.StatusOK {
		t.Fatalf("refresh: got %d, want 200", status)
	}
	next, err := oauth.ParseGrant(body)
	if err != nil {
		t.Fatal(err)
	}
	grant = next
	tests := []struct {
		name   string
		inject []enginetest.Fault
		status int
		early  int
	}{
		{"a list", nil, 200, 0},
		{"a refusal that names a time", []enginetest.Fault{enginetest.Throttled}, 403, 0},
		{"too early", nil, 403, 1},
		{"and again", nil, 403, 2},
	}
	for _, tt := range tests {
		gmail.Inject(tt.inject...)
		status, _ := do(gmail.ListRequest(mailbox, ""))
		if got := gmail.Counts().EarlyReturns; status != tt.status || got != tt.early {
			t.Errorf("%s: got status %d, %d early; want %d, %d", tt.name, status, got, tt.status, tt.early)
		}
	}
}
