package classify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/rules"
)

func TestSMTP(t *testing.T) {
	for _, tt := range []struct {
		name, reply    string
		status         int
		codes, message string
	}{
		{"one line", "450 4.2.0 <user@example.com>: Recipient address rejected: Greylisted", 450, "4.2.0", "<>: Recipient address rejected: Greylisted"},
		{"not in RFC 5321", "432 4.3.2 Concurrent connections limit exceeded.", 432, "4.3.2", "Concurrent connections limit exceeded."},
		{"without an enhanced code", "421 Too many connections", 421, "", "Too many connections"},
		{"three lines", "552-5.2.3 Your message exceeded Google's limits. Please visit\r\n552-5.2.3  https://support.google.com/mail/ to view\r\n552 5.2.3 - gsmtp\r\n",
			552, "5.2.3", "Your message exceeded Google's limits. Please visit https://support.google.com/mail/ to view gsmtp"},
		{"lines of different codes", "550-5.7.1 a\n550 5.1.1 b", 550, "5.7.1 5.1.1", "a b"},
		{"lines of which only the first has a code", "550-5.7.1 a\r\n550-b\r\n550 c", 550, "5.7.1", "a b c"},
		{"only a code", "250", 250, "", ""},
		{"code and dash", "250-", 250, "", ""},
		{"success", "250 2.0.0 OK 1700000000 x-20020a - gsmtp", 250, "2.0.0", "OK 1700000000 x-20020a - gsmtp"},
		{"intermediate", "354 Go ahead", 354, "", "Go ahead"},
		{"hash before the code", "550 #5.1.0 Address rejected", 550, "5.1.0", "Address rejected"},
		{"qmail", "550 sorry, no mailbox here by that name (#5.1.1)", 550, "5.1.1", "sorry, no mailbox here by that name (#5.1.1)"},
		{"brackets", "550 [5.7.1] denied", 550, "5.7.1", "denied"},
		{"colon after the code", "550 5.7.1: denied", 550, "5.7.1", "denied"},
		{"an address is no code", "550 5.1.2.3 is blocked", 550, "", "5.1.2.3 is blocked"},
		{"a version is no code", "220 5.0 ready", 220, "", "5.0 ready"},
		{"three digits each", "554 5.999.123 x", 554, "5.999.123", "x"},
		{"four digits", "554 5.1000.1 x", 554, "", "5.1000.1 x"},
		{"class of no meaning", "554 9.1.1 x", 554, "", "9.1.1 x"},
		{"no code", "Too many login attempts", 0, "", "Too many login attempts"},
		{"only an enhanced code", "4.7.0 Too many login attempts", 0, "4.7.0", "Too many login attempts"},
		{"longer numbers are no code", "5501 x", 0, "", "5501 x"},
		{"out of range", "650 x", 0, "", "650 x"},
		{"empty", "", 0, "", ""},
		{"not UTF-8", "550 5.1.1 caf\xe9", 550, "5.1.1", "caf\ufffd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e rules.Event
			classify.SMTP(nil, &classify.Reply{Command: "data", Text: tt.reply, Now: arrival}, &e)
			if e.Status != tt.status || strings.Join(e.Codes, " ") != tt.codes || e.Message != tt.message {
				t.Errorf("given %q\ngot  %d %q %q\nwant %d %q %q", tt.reply, e.Status, e.Codes, e.Message, tt.status, tt.codes, tt.message)
			}
			if e.Protocol != "smtp" || e.Method != "DATA" || e.Operation != "DATA" || !e.Sent {
				t.Errorf("given %q\ngot  protocol %q method %q operation %q sent %v", tt.reply, e.Protocol, e.Method, e.Operation, e.Sent)
			}
		})
	}
}

func TestSMTPExtract(t *testing.T) {
	p := load(`
provider: outlook_smtp
protocol: smtp
extract:
  codes: [{text: '\w+Exception\b'}, {json: x}, {xml: x}]
  retry_after: {text: 'try again in (\d+ \w+)', as: duration}
`)
	var e rules.Event
	classify.SMTP(p, &classify.Reply{Command: "DATA", Text: "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; SendAsDeniedException: x. OutboundSpamException, try again in 5 minutes", Now: arrival}, &e)
	if got, want := strings.Join(e.Codes, " "), "5.2.0 SendAsDeniedException OutboundSpamException"; got != want {
		t.Errorf("got  codes %q\nwant %q", got, want)
	}
	if e.Provider != "outlook_smtp" || e.RetryAfter != 5*time.Minute {
		t.Errorf("got provider %q wait %v, want outlook_smtp 5m", e.Provider, e.RetryAfter)
	}
	// A reply without its code leaves the caller's.
	e = rules.Event{Status: 535}
	classify.SMTP(p, &classify.Reply{Command: "AUTH", Text: "authentication failed", Now: arrival}, &e)
	if e.Status != 535 {
		t.Errorf("got status %d, want the caller's 535", e.Status)
	}
}

func FuzzSMTP(f *testing.F) {
	for _, s := range []string{"550-5.7.1 a\r\n550 5.1.1 b", "250", "(#5.1.1)", "550 #[5.1.1", "\r\n", "4.7.0"} {
		f.Add("RCPT", s)
	}
	f.Fuzz(func(t *testing.T, command, reply string) {
		var e, again rules.Event
		classify.SMTP(google, &classify.Reply{Command: command, Text: reply, Now: arrival}, &e)
		checkEvent(t, reply, &e)
		if e.Status != 0 && (e.Status < 200 || e.Status > 599) {
			t.Errorf("given %q\ngot  status %d", reply, e.Status)
		}
		classify.SMTP(google, &classify.Reply{Command: command, Text: reply, Now: arrival, Trace: new(classify.Trace)}, &again)
		checkSame(t, reply, &e, &again)
	})
}
