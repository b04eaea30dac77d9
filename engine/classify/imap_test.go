package classify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/rules"
)

func TestIMAP(t *testing.T) {
	for _, tt := range []struct {
		name, text, status      string
		wantStatus, codes, mess string
	}{
		{"tagged, code", "A7 NO [UNAVAILABLE] User's backend is down", "", "NO", "UNAVAILABLE", "User's backend is down"},
		{"code in lower case", "A7 NO [limit] Example text", "", "NO", "LIMIT", "Example text"},
		{"status in lower case", "a no [Limit] x", "", "NO", "LIMIT", "x"},
		{"alert", "a NO [ALERT] Too many simultaneous connections. (Failure)", "NO", "NO", "ALERT", "Too many simultaneous connections. (Failure)"},
		{"untagged", "* BYE Server shutting down.", "", "BYE", "", "Server shutting down."},
		{"untagged with code", "* BYE [UNAVAILABLE] bye", "BYE", "BYE", "UNAVAILABLE", "bye"},
		{"greeting", "* PREAUTH IMAP4rev1 server logged in as Smith", "", "PREAUTH", "", "IMAP4rev1 server logged in as Smith"},
		{"code with arguments", "h OK [COPYUID 38505 304,319:320 3956:3958] Done", "", "OK", "COPYUID", "Done"},
		{"code with a bracket in quotes", `a NO [BADURL "imap://x/]"] no`, "", "NO", "BADURL", "no"},
		{"two codes", "a NO [ALERT] [UNAVAILABLE] x", "", "NO", "ALERT UNAVAILABLE", "x"},
		{"not in the code's place", "A00000002 OK Success [THROTTLED]", "OK", "OK", "", "Success [THROTTLED]"},
		{"only a code", "a NO [INUSE]", "", "NO", "INUSE", ""},
		{"only a status", "a OK", "", "OK", "", ""},
		{"bracket not closed", "a NO [INUSE x", "", "NO", "", "[INUSE x"},
		{"text in brackets", "a NO [a (b)] x", "", "NO", "A", "x"},
		{"empty brackets", "a NO [] x", "", "NO", "", "[] x"},

		{"several lines", "00000003 BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n", "", "BAD", "", "User is authenticated but not connected. Connection closed. 14"},
		{"untagged first", "* BYE [UNAVAILABLE] Closing.\r\na NO [INUSE] Busy.", "", "NO", "INUSE UNAVAILABLE", "Busy. Closing."},
		{"BYE before a warning", "* NO Disk is 98% full\r\n* BYE gone", "", "BYE", "", "gone Disk is 98% full"},
		{"warning before a data line", "* 18 EXISTS\r\n* NO Disk is full\r\n* OK [UIDNEXT 4392] x", "", "NO", "UIDNEXT", "Disk is full x"},
		{"data lines only", "* 18 EXISTS\r\n* FLAGS (\\Seen)", "", "", "", ""},
		{"data lines, status known", "* 18 EXISTS\r\na OK done", "OK", "OK", "", "done"},
		{"continuation", "+ idling\r\na BAD x", "", "BAD", "", "x"},

		{"text only", "UID FETCH Server error - Please try again later", "NO", "NO", "", "UID FETCH Server error - Please try again later"},
		{"text only, status unknown", "Server error", "", "", "", "Server error"},
		{"text that looks tagged", "Server BAD weather", "NO", "NO", "", "Server BAD weather"},
		{"text that starts with a status", "OK computer", "NO", "NO", "", "OK computer"},
		{"status without a tag", "NO [CANNOT] Never", "", "NO", "CANNOT", "Never"},
		{"status without a tag, known", "NO [CANNOT] Never", "NO", "NO", "CANNOT", "Never"},
		{"code and text", "[OVERQUOTA] Account exceeded command or bandwidth limits", "NO", "NO", "OVERQUOTA", "Account exceeded command or bandwidth limits"},
		{"status given in lower case", "x", "no", "NO", "", "x"},
		{"the status overrides", "a OK done", "NO", "NO", "", "a OK done"},
		{"an untagged line beside a known status", "* BYE [UNAVAILABLE] gone", "NO", "NO", "UNAVAILABLE", "gone"},
		{"empty", "", "NO", "NO", "", ""},
		{"nothing", "", "", "", "", ""},
		{"not UTF-8", "a NO caf\xe9", "", "NO", "", "caf\ufffd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e rules.Event
			classify.IMAP(nil, &classify.Reply{Command: "uid fetch", Text: tt.text, Status: tt.status, Now: arrival}, &e)
			if e.IMAPStatus != tt.wantStatus || strings.Join(e.Codes, " ") != tt.codes || e.Message != tt.mess {
				t.Errorf("given %q %q\ngot  %q %q %q\nwant %q %q %q", tt.text, tt.status, e.IMAPStatus, e.Codes, e.Message, tt.wantStatus, tt.codes, tt.mess)
			}
			if e.Protocol != "imap" || e.Method != "UID FETCH" || e.Operation != "UID FETCH" || e.Status != 0 || !e.Sent {
				t.Errorf("given %q\ngot  protocol %q method %q status %d sent %v", tt.text, e.Protocol, e.Method, e.Status, e.Sent)
			}
		})
	}
}

func TestIMAPExtract(t *testing.T) {
	p := load(`
provider: outlook_imap
protocol: imap
extract:
  retry_after: {text: 'Suggested Backoff Time: (\d+) milliseconds', as: ms}
  facts: {throttled: {text: '(?i)\[THROTTLED\]', fold: true}}
`)
	var e rules.Event
	classify.IMAP(p, &classify.Reply{Command: "SELECT", Text: "a BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", Now: arrival}, &e)
	if want := 299961 * time.Millisecond; e.RetryAfter != want {
		t.Errorf("got  wait %v\nwant %v", e.RetryAfter, want)
	}
	classify.IMAP(p, &classify.Reply{Command: "SELECT", Text: "a OK Success [THROTTLED]", Now: arrival}, &e)
	if got := e.Facts["throttled"]; got != "[throttled]" || e.RetryAfter != 0 {
		t.Errorf("got facts %v wait %v, want [throttled] and none", e.Facts, e.RetryAfter)
	}
}

func FuzzIMAP(f *testing.F) {
	for _, s := range []string{"a NO [X] y", "* BYE\r\na BAD [", "* 1 EXISTS", "[[", "a OK []", "+ ", `a NO [B "]"] x`} {
		f.Add("SELECT", s, "")
		f.Add("SELECT", s, "NO")
	}
	f.Fuzz(func(t *testing.T, command, text, status string) {
		var e, again rules.Event
		classify.IMAP(google, &classify.Reply{Command: command, Text: text, Status: status, Now: arrival}, &e)
		checkEvent(t, text, &e)
		for _, c := range e.Codes {
			if c != strings.ToUpper(c) {
				t.Errorf("given %q\ngot  code %q", text, c)
			}
		}
		classify.IMAP(google, &classify.Reply{Command: command, Text: text, Status: status, Now: arrival, Trace: new(classify.Trace)}, &again)
		checkSame(t, text, &e, &again)
	})
}
