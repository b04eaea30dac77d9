package classify_test

import (
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/rules"
)

// hostileBodies are made to take time or memory out of proportion.
var hostileBodies = []struct{ name, body string }{
	{"open brackets", strings.Repeat("[", classify.MaxBody)},
	{"open objects", strings.Repeat(`{"error":`, classify.MaxBody/9)},
	{"lists in lists of the path", strings.Repeat(`{"error":{"errors":[`, 3000)},
	{"many codes", `{"error":{"errors":[` + strings.Repeat(`{"reason":"r"},`, 4000) + `]}}`},
	{"many different codes", `{"error":{"errors":[` + numbered(`{"reason":"`, `"},`, 3000) + `]}}`},
	{"many keys", `{` + numbered(`"k`, `":1,`, 5000) + `"error":{"message":"m"}}`},
	{"escapes", `{"error":{"message":"` + strings.Repeat(`\u00e9`, 10000) + `"}}`},
	{"backslashes", `{"error":{"message":"` + strings.Repeat(`\`, 60000)},
	{"quotes", strings.Repeat(`"`, classify.MaxBody)},
	{"open elements", strings.Repeat("<a>", classify.MaxBody/3)},
	{"open elements of the path", strings.Repeat("<Message>", classify.MaxBody/9)},
	{"nested elements of the path", strings.Repeat("<Message>", 3000) + strings.Repeat("</Message>", 3000)},
	{"nested parents", strings.Repeat("<error>", 4000) + strings.Repeat("</error>", 4000)},
	{"many children", "<error>" + strings.Repeat("<c/>", 15000) + "</error>"},
	{"open quotes in a tag", "<a " + strings.Repeat(`b="`, 20000)},
	{"declarations", strings.Repeat("<!", 32000)},
	{"open declarations", "<!DOCTYPE x " + strings.Repeat("[<!", 20000)},
	{"instructions", strings.Repeat("<?x?>", 13000)},
	{"references", "<Message>" + strings.Repeat("&amp;&#x;", 6000) + "</Message>"},
	{"qualified names", "<r>" + strings.Repeat("<ResponseCode>xmlns:a</ResponseCode>", 1800) + "</r>"},
	{"angle brackets", strings.Repeat("<", classify.MaxBody)},
	{"text that a pattern nearly matches", strings.Repeat("Retry after 2026-09-11T20:00:00.000", 1800)},
	{"WBXML elements", wbxml + strings.Repeat("\x7f", 60000)},
	{"WBXML of data", wbxml + strings.Repeat("\x45\xc3\x00", 20000)},
	{"numbers", strings.Repeat("9", classify.MaxBody)},
}

func numbered(before, after string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(before)
		for ; i > 0; i /= 10 {
			b.WriteByte(byte('0' + i%10))
		}
		b.WriteString(after)
	}
	return b.String()
}

// Whatever a body holds, its event is bounded. BenchmarkHostile has the times.
func TestHostile(t *testing.T) {
	for _, tt := range hostileBodies {
		t.Run(tt.name, func(t *testing.T) {
			var e rules.Event
			classify.HTTP(everything, &classify.Response{Status: 500, Body: []byte(tt.body), Now: arrival}, &e)
			checkEvent(t, tt.name, &e)
			classify.SMTP(everything, &classify.Reply{Command: "DATA", Text: tt.body, Now: arrival}, &e)
			checkEvent(t, tt.name, &e)
			classify.IMAP(everything, &classify.Reply{Command: "NOOP", Text: tt.body, Now: arrival}, &e)
			checkEvent(t, tt.name, &e)
			classify.Hint(headers("Retry-After", tt.body, "RateLimit", tt.body, "X-RateLimit-Reset", tt.body), 429, arrival)
			classify.Batch(everything, &classify.Response{Status: 200, Body: []byte(tt.body)}, nil)
		})
	}
}

func BenchmarkHostile(b *testing.B) {
	for _, bb := range hostileBodies {
		b.Run(strings.ReplaceAll(bb.name, " ", "_"), func(b *testing.B) {
			r := &classify.Response{Status: 500, Body: []byte(bb.body), Now: arrival}
			var e rules.Event
			for b.Loop() {
				classify.HTTP(everything, r, &e)
			}
		})
	}
}
