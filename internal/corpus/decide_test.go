package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/recourse-go/recourse/policy"
)

// decider decides by the policies of testdata, which change only with these tests.
func decider(t testing.TB) *Decider {
	t.Helper()
	files, err := policy.ReadDir("testdata/policies")
	if err != nil {
		t.Fatal(err)
	}
	set, found := policy.Load(files, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	d, err := NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// answer is the expected line: what differs from a case that is simply given up.
func answer(set string) string {
	fields := []struct{ name, value string }{
		{"id", `"x"`}, {"provider", `"shop"`}, {"policy", `"shop"`}, {"rule", `"default"`}, {"action", `"fail"`}, {"as", `""`},
		{"delay_seconds", "0"}, {"min_delay_seconds", "0"}, {"hint_seconds", "0"}, {"defer", "false"}, {"exhausted", "false"},
		{"hold", "[]"}, {"hold_seconds", "0"}, {"reason", `"the rule says so"`},
	}
	if !strings.Contains(set, `"action"`) || strings.Contains(set, `"action":"fail"`) {
		fields[5].value = `"permanent"`
	}
	var changed map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+set+"}"), &changed); err != nil {
		panic(err)
	}
	var b strings.Builder
	for i, f := range fields {
		if v, ok := changed[f.name]; ok {
			f.value = string(v)
		}
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		fmt.Fprintf(&b, "%q:%s", f.name, f.value)
	}
	return b.String() + "}\n"
}

func TestRun(t *testing.T) {
	const gate = `"reason":"not idempotent and the outcome is unknown: a repeat could do it twice"`
	tests := []struct {
		name, in string
		want     string
	}{
		{"nothing matches", `{"id":"x","provider":"shop","status":418}`, answer(``)},
		{"no id", `{"provider":"shop","status":418}`, answer(`"id":""`)},
		{"number as id", `{"id":5,"provider":"shop","status":418}`, answer(`"id":5`)},
		{"success", `{"id":"x","provider":"shop","status":204}`,
			answer(`"rule":"success","action":"accept","reason":"a successful reply that no rule matches"`)},
		{"success by rule", `{"id":"x","provider":"shop","status":409,"operation":"orders.create"}`, answer(`"rule":"done","action":"accept"`)},
		{"backoff", `{"id":"x","provider":"shop","method":"GET","status":503}`,
			answer(`"rule":"server-error","action":"retry","delay_seconds":1,"min_delay_seconds":1`)},
		{"later attempt", `{"id":"x","provider":"shop","method":"GET","status":503,"attempt":3}`,
			answer(`"rule":"server-error","action":"retry","delay_seconds":3,"min_delay_seconds":2`)},
		{"last attempt", `{"id":"x","provider":"shop","method":"GET","status":503,"attempt":4}`,
			answer(`"rule":"server-error","action":"fail","as":"exhausted","exhausted":true,"reason":"the backoff's attempts are used up"`)},
		{"too long", `{"id":"x","provider":"shop","method":"GET","status":503,"attempt":2,"elapsed_seconds":600}`,
			answer(`"rule":"server-error","action":"fail","as":"exhausted","exhausted":true,"reason":"the backoff's elapsed time is used up"`)},
		{"gate", `{"id":"x","provider":"shop","method":"POST","status":503}`, answer(`"rule":"server-error","as":"ambiguous",` + gate)},
		{"gate without a method", `{"id":"x","provider":"shop","status":503}`, answer(`"rule":"server-error","as":"ambiguous",` + gate)},
		{"given as idempotent", `{"id":"x","provider":"shop","method":"POST","status":503,"idempotent":true}`,
			answer(`"rule":"server-error","action":"retry","delay_seconds":1,"min_delay_seconds":1`)},
		{"given as not idempotent", `{"id":"x","provider":"shop","method":"GET","status":503,"idempotent":false}`, answer(`"rule":"server-error","as":"ambiguous",` + gate)},
		{"idempotency key", `{"id":"x","provider":"shop","method":"POST","status":503,"idempotency_key":"k"}`,
			answer(`"rule":"server-error","action":"retry","delay_seconds":1,"min_delay_seconds":1`)},
		{"idempotent by the policy", `{"id":"x","provider":"shop","method":"POST","operation":"orders.touch","status":503}`,
			answer(`"rule":"server-error","action":"retry","delay_seconds":1,"min_delay_seconds":1`)},
		{"lost after sending", `{"id":"x","provider":"shop","method":"POST","network_error":"read: connection reset by peer"}`, answer(`"rule":"network","as":"ambiguous",` + gate)},
		{"never sent", `{"id":"x","provider":"shop","method":"POST","network_error":"dial tcp 1.2.3.4:443: connect: connection refused"}`,
			answer(`"rule":"network","action":"retry","delay_seconds":1,"min_delay_seconds":1`)},
		{"said to be sent", `{"id":"x","provider":"shop","method":"POST","network_error":"dial tcp 1.2.3.4:443: connect: connection refused","sent":true}`, answer(`"rule":"network","as":"ambiguous",` + gate)},
		{"cancelled", `{"id":"x","provider":"shop","method":"GET","network_error":"context canceled"}`,
			answer(`"rule":"network","as":"canceled","reason":"the caller gave up"`)},
		{"re-authenticate", `{"id":"x","provider":"shop","status":401}`, answer(`"rule":"expired","action":"reauth"`)},
		{"re-authenticated already", `{"id":"x","provider":"shop","status":401,"state":{"v":1,"n":1,"r":1}}`,
			answer(`"rule":"expired","as":"needs_user","reason":"refused again after re-authentication"`)},
		{"hint", `{"id":"x","provider":"shop","status":429,"headers":{"retry-after":"7"}}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":7.35,"min_delay_seconds":7,"hint_seconds":7`)},
		{"hint in a list", `{"id":"x","provider":"shop","status":429,"headers":{"Retry-After":["3","7"]}}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":7.35,"min_delay_seconds":7,"hint_seconds":7`)},
		{"hint in the body", `{"id":"x","provider":"shop","status":429,"headers":{"Content-Type":"application/json"},"body":"{\"wait\":40}"}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":42,"min_delay_seconds":40,"hint_seconds":40`)},
		{"hint as a date", `{"id":"x","provider":"shop","status":429,"headers":{"Retry-After":"Fri, 11 Sep 2026 20:00:00 GMT"},"now":"2026-09-11T19:59:30Z"}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":31.5,"min_delay_seconds":30,"hint_seconds":30`)},
		{"hint against the Date", `{"id":"x","provider":"shop","status":429,"headers":{"Retry-After":"Fri, 11 Sep 2026 20:00:00 GMT","date":"Fri, 11 Sep 2026 19:59:50 GMT"}}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":10.5,"min_delay_seconds":10,"hint_seconds":10`)},
		{"too long to sit out", `{"id":"x","provider":"shop","status":429,"headers":{"Retry-After":"90"}}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":94.5,"min_delay_seconds":90,"hint_seconds":90,"defer":true`)},
		{"longer than max_wait", `{"id":"x","provider":"shop","status":429,"headers":{"Retry-After":"3600"}}`,
			answer(`"rule":"throttled","action":"wait","delay_seconds":3615,"min_delay_seconds":3600,"hint_seconds":3600,"defer":true,"reason":"the server asked for more than the rule's max_wait"`)},
		{"too long to be meant", `{"id":"x","provider":"shop","status":429,"headers":{"Retry-After":"99999999"}}`,
			answer(`"rule":"throttled","action":"retry","delay_seconds":1,"min_delay_seconds":1,"reason":"the rule says so; ignored a wait of 27777h46m39s (header Retry-After)"`)},
		{"fixed wait and holds", `{"id":"x","provider":"shop","status":400,"headers":{},"body":"{\"error\":\"soldout\"}"}`,
			answer(`"rule":"sold-out","action":"wait","delay_seconds":1215,"min_delay_seconds":1200,"defer":true,"hold":["user","orders"],"hold_seconds":1200`)},
		{"body of base64", `{"id":"x","provider":"shop","status":400,"body":"","body_base64":"eyJlcnJvciI6ImZyb3plbiJ9"}`, answer(`"rule":"frozen","as":"needs_user"`)},
		{"body as JSON", `{"id":"x","provider":"shop","status":400,"body":{"error":"frozen"}}`, answer(`"rule":"frozen","as":"needs_user"`)},
		{"unknown fields", `{"id":"x","provider":"shop","status":418,"want_action":"fail","why":["a"],"scope":null}`, answer(``)},

		{"unknown provider", `{"id":"x","provider":"nobody","method":"GET","status":503}`,
			answer(`"provider":"nobody","policy":"http","rule":"server-error","action":"retry","delay_seconds":1,"min_delay_seconds":1,"reason":"unknown provider \"nobody\", decided by http; the rule says so"`)},
		{"no provider", `{"id":"x","status":418}`, answer(`"provider":"","policy":"http","reason":"no provider given, decided by http; the rule says so"`)},
		{"unknown provider's mail", `{"id":"x","provider":"nobody","protocol":"smtp","operation":"RCPT","status":451,"body":"451 4.7.1 greylisted"}`,
			answer(`"provider":"nobody","policy":"smtp","rule":"later","action":"retry","delay_seconds":300,"min_delay_seconds":300,"defer":true,"reason":"unknown provider \"nobody\", decided by smtp; the rule says so"`)},
		{"unknown provider by its name", `{"id":"x","provider":"nobody_imap","imap_status":"NO","body":"a NO [INUSE] busy","operation":"SELECT"}`,
			answer(`"provider":"nobody_imap","policy":"imap","rule":"in-use","action":"retry","delay_seconds":10,"min_delay_seconds":10,"reason":"unknown provider \"nobody_imap\", decided by imap; the rule says so"`)},
		{"unknown provider with a long name", `{"id":"x","provider":"` + strings.Repeat("n", 100) + `","status":418}`,
			answer(`"provider":"` + strings.Repeat("n", 100) + `","policy":"http","reason":"unknown provider \"` + strings.Repeat("n", 60) + `…\", decided by http; the rule says so"`)},

		{"smtp", `{"id":"x","provider":"smtp","operation":"RCPT","status":550,"body":"550 5.1.1 no such user"}`,
			answer(`"provider":"smtp","policy":"smtp","rule":"bad-address","as":"no_such_user"`)},
		{"smtp without the code in the body", `{"id":"x","provider":"smtp","operation":"RCPT","status":550,"body":"5.1.1 no such user"}`,
			answer(`"provider":"smtp","policy":"smtp","rule":"bad-address","as":"no_such_user"`)},
		{"smtp without a status", `{"id":"x","provider":"smtp","operation":"RCPT","status":0,"body":"550 5.1.1 no such user"}`,
			answer(`"provider":"smtp","policy":"smtp","rule":"bad-address","as":"no_such_user"`)},
		{"smtp, accepted", `{"id":"x","provider":"smtp","operation":"DATA","status":250,"body":"250 2.0.0 OK"}`,
			answer(`"provider":"smtp","policy":"smtp","rule":"success","action":"accept","reason":"a successful reply that no rule matches"`)},
		{"smtp, lost after the dot", `{"id":"x","provider":"smtp","operation":"DATA","status":0,"network_error":"EOF after end-of-data"}`,
			answer(`"provider":"smtp","policy":"smtp","rule":"network","as":"ambiguous",` + gate)},
		{"imap", `{"id":"x","provider":"imap","operation":"login","status":0,"imap_status":"NO","body":"a NO [AUTHENTICATIONFAILED] no"}`,
			answer(`"provider":"imap","policy":"imap","rule":"login","action":"reauth"`)},
		{"imap, status in the body only", `{"id":"x","provider":"imap","operation":"LOGIN","body":"a NO [AUTHENTICATIONFAILED] no"}`,
			answer(`"provider":"imap","policy":"imap","rule":"login","action":"reauth"`)},
		{"imap, connection lost", `{"id":"x","provider":"imap","operation":"FETCH","network_error":"unexpected EOF"}`,
			answer(`"provider":"imap","policy":"imap","rule":"network","action":"retry","delay_seconds":10,"min_delay_seconds":10`)},
		{"imap, lost append", `{"id":"x","provider":"imap","operation":"APPEND","network_error":"unexpected EOF"}`,
			answer(`"provider":"imap","policy":"imap","rule":"network","as":"ambiguous",` + gate)},

		{"unreadable", `{"id":"x","status":"429"}`, `{"id":"x","error":"status: want a number, got a string"}` + "\n"},
		{"unreadable, without an id", `{"status":"429"}`, `{"id":null,"error":"status: want a number, got a string"}` + "\n"},
		{"no JSON", `hello <there> & you`, `{"id":null,"error":"not JSON: unexpected 'h' at byte 1"}` + "\n"},
		{"unreadable state", `{"id":"x","provider":"shop","state":{"v":9}}`, `{"id":"x","error":"state: version 9, want 1"}` + "\n"},
		{"blank lines", "\n  \n\r\n", ""},
		{"several lines", `{"id":"x","provider":"shop","status":418}` + "\r\n" + "oops\n\n" + `{"id":"y","provider":"shop","status":418}`,
			answer(``) + `{"id":null,"error":"not JSON: unexpected 'o' at byte 1"}` + "\n" + answer(`"id":"y"`)},
	}
	d := decider(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if _, err := d.Run(t.Context(), strings.NewReader(tt.in), &out); err != nil {
				t.Fatalf("Run(%s): %v", tt.in, err)
			}
			if got := out.String(); got != tt.want {
				t.Errorf("Run(%s)\n got %swant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestTally(t *testing.T) {
	d := decider(t)
	in := strings.Repeat(`{"id":"x","provider":"shop","status":418}`+"\noops\n\n", 3)
	got, err := d.Run(t.Context(), strings.NewReader(in), io.Discard)
	if want := (Tally{Answered: 3, Failed: 3}); got != want || err != nil {
		t.Errorf("Run = %+v, %v; want %+v", got, err, want)
	}
}

// What a call's state says continues where it stopped.
func TestState(t *testing.T) {
	d := decider(t)
	c, err := ParseCase([]byte(`{"provider":"shop","method":"GET","status":503}`))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		s, err := d.Prepare(&c)
		if err != nil {
			t.Fatal(err)
		}
		next := s.Provider.Decide(s.State, &s.Event, Chance)
		if next.Exhausted {
			if n != 4 {
				t.Errorf("exhausted after %d attempts, want 4", n)
			}
			return
		}
		if n > 4 {
			t.Fatalf("attempt %d: %v, want exhausted after 4", n, next.Action)
		}
		if c.State, err = json.Marshal(next.State); err != nil {
			t.Fatal(err)
		}
	}
}

// An answer goes out before Run waits for the next line, so that a worker can
// hold a conversation with it.
func TestRunAnswersAtOnce(t *testing.T) {
	d := decider(t)
	in, write := io.Pipe()
	read, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := d.Run(t.Context(), in, out)
		out.Close()
		done <- err
	}()
	answers := json.NewDecoder(read)
	for i := range 3 {
		fmt.Fprintf(write, `{"id":"%d","provider":"shop","status":418}`+"\n", i)
		var a Answer
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"%d"`, i); string(a.ID) != want {
			t.Errorf("answer %d has id %s, want %s", i, a.ID, want)
		}
	}
	write.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunErrors(t *testing.T) {
	d := decider(t)
	broken := errors.New("broken")
	line := `{"id":"x","provider":"shop","status":418}` + "\n"

	var out bytes.Buffer
	_, err := d.Run(t.Context(), io.MultiReader(strings.NewReader(line), iotest.ErrReader(broken)), &out)
	if !errors.Is(err, broken) || out.String() != answer(``) {
		t.Errorf("broken reader: %v and %q; want %v after the answer to the line before", err, out.String(), broken)
	}

	_, err = d.Run(t.Context(), strings.NewReader(line), failingWriter{broken})
	if !errors.Is(err, broken) {
		t.Errorf("broken writer: %v, want %v", err, broken)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = d.Run(ctx, strings.NewReader(line), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, want %v", err, context.Canceled)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// A body of any length is decided by its beginning.
func TestLongBody(t *testing.T) {
	d := decider(t)
	var out bytes.Buffer
	in := io.MultiReader(
		strings.NewReader(`{"id":"long","provider":"shop","method":"GET","status":503,"body":"`), &endless{'x', 4 << 20}, strings.NewReader("\"}\n"),
		strings.NewReader(`{"id":"longer","provider":"shop","method":"GET","status":503,"body":"`), &endless{'x', 100 << 20}, strings.NewReader("\"}\n"),
		strings.NewReader(`{"id":"x","provider":"shop","status":418}`),
	)
	if _, err := d.Run(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	want := answer(`"id":"long","rule":"server-error","action":"retry","delay_seconds":1,"min_delay_seconds":1`) +
		`{"id":"longer","error":"longer than 8 MiB"}` + "\n" + answer(``)
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

// Whatever a line holds, it gets one line of valid JSON, and no retry that
// could do something twice.
func FuzzRun(f *testing.F) {
	f.Add(`{"id":"x","provider":"shop","method":"POST","status":503,"headers":{"Retry-After":"7"},"body":"{\"error\":\"soldout\"}"}`)
	f.Add(`{"id":1,"provider":"nobody_imap","imap_status":"NO","body":"* BYE [UNAVAILABLE] x\r\na NO [INUSE] y"}`)
	f.Add(`{"id":"x","protocol":"smtp","status":451,"body":"451-4.7.1 a\r\n451 4.7.1 b","network_error":"EOF"}`)
	f.Add(`{"id":"x","attempt":1000000,"elapsed_seconds":9e9,"state":{"v":1,"n":3,"b":[1,2,3,4]}}`)
	d := decider(f)
	f.Fuzz(func(t *testing.T, in string) {
		in = strings.NewReplacer("\n", " ", "\r", " ").Replace(in)
		if strings.TrimSpace(in) == "" {
			return
		}
		var out bytes.Buffer
		if _, err := d.Run(t.Context(), strings.NewReader(in), &out); err != nil {
			t.Fatalf("Run(%q): %v", in, err)
		}
		if n := bytes.Count(out.Bytes(), []byte("\n")); n > 1 || !json.Valid(out.Bytes()) && out.Len() > 0 {
			t.Fatalf("Run(%q): %q, want one line of JSON", in, out.String())
		}
		var a Answer
		if err := json.Unmarshal(out.Bytes(), &a); err != nil && out.Len() > 0 {
			t.Fatalf("Run(%q): %q: %v", in, out.String(), err)
		}
		if a.DelaySeconds < a.MinDelaySeconds || a.MinDelaySeconds < 0 || (a.Action == "wait" && a.MinDelaySeconds < a.HintSeconds) {
			t.Errorf("Run(%q): delay %v, least %v, asked for %v", in, a.DelaySeconds, a.MinDelaySeconds, a.HintSeconds)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	d := decider(b)
	line := `{"id":"gmail-001","provider":"shop","operation":"messages.get","method":"GET","status":403,"headers":{"Content-Type":"application/json; charset=UTF-8"},"body":"{\"error\":{\"code\":403,\"message\":\"User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z\",\"errors\":[{\"message\":\"User-rate limit exceeded.\",\"domain\":\"usageLimits\",\"reason\":\"rateLimitExceeded\"}],\"status\":\"PERMISSION_DENIED\"}}","now":"2026-09-11T19:59:30Z"}` + "\n"
	in := strings.NewReader(strings.Repeat(line, 1000))
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for n := 0; n < b.N; n += 1000 {
		in.Seek(0, io.SeekStart)
		if _, err := d.Run(b.Context(), in, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// What a policy speaks is what the ones that it extends speak, however far up.
func TestInheritedProtocol(t *testing.T) {
	file := func(name, text string) policy.File {
		return policy.File{Name: name, Data: []byte("version: 1\nprovider: " + name + "\n" + text)}
	}
	set, found := policy.Load([]policy.File{
		file("mail", "extends: [gmail_imap]\n"),
		file("post", "extends: [mail]\n"),
		file("gmail", "extends: [gmail]\n"),
		file("both", "extends: [http, post]\n"),
		file("relay", "extends: [smtp]\n"),
	}, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		t.Fatal(found.Err())
	}
	d, err := NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	for provider, want := range map[string]string{
		"mail": "imap", "post": "imap", "both": "imap", "relay": "smtp", "gmail": "http", "imap": "imap", "caldav": "http",
		"nobody": "http", "nobody_smtp": "smtp",
	} {
		s, err := d.Prepare(&Case{Provider: provider})
		if err != nil || s.Event.Protocol != want {
			t.Errorf("given provider %s\n got %q, %v\nwant %q", provider, s.Event.Protocol, err, want)
		}
	}
}

// A rule sees the number of the attempt and the time spent whether the case or
// its state tells them.
func TestAttemptOfACase(t *testing.T) {
	d := decider(t)
	for _, tt := range []struct {
		line    string
		attempt int
		elapsed string
	}{
		{`{"provider":"shop","status":500}`, 1, "0s"},
		{`{"provider":"shop","status":500,"attempt":3,"elapsed_seconds":9}`, 3, "9s"},
		{`{"provider":"shop","status":500,"state":{"v":1,"n":4,"s":7000}}`, 5, "7s"},
		{`{"provider":"shop","status":500,"state":{"v":1,"n":4,"s":7000},"elapsed_seconds":9}`, 5, "9s"},
	} {
		c, err := ParseCase([]byte(tt.line))
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Prepare(&c)
		if err != nil {
			t.Fatal(err)
		}
		if e := &s.Event; e.Attempt != tt.attempt || e.Elapsed.String() != tt.elapsed {
			t.Errorf("given %s\n got attempt %d, elapsed %s\nwant attempt %d, elapsed %s", tt.line, e.Attempt, e.Elapsed, tt.attempt, tt.elapsed)
		}
	}
}

// A case says by its state that an attempt of unknown outcome came before, and
// an answer below 200 is a lost one.
func TestOwnWriteOfACase(t *testing.T) {
	d, err := NewDecider(policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ given, want string }{
		{`"method":"PUT","status":412`, "fail conflict: the rule says so"},
		{`"method":"PUT","status":412,"state":{"v":1,"n":1,"u":true}`, "fail ambiguous: an earlier attempt of unknown outcome may be what this one was refused for"},
		{`"method":"POST","status":409,"state":{"v":1,"n":1,"u":true}`, "fail ambiguous: an earlier attempt of unknown outcome may be what this one was refused for"},
		{`"method":"POST","status":409,"state":{"v":1,"n":1}`, "fail conflict: the rule says so"},
		{`"method":"DELETE","status":404,"state":{"v":1,"n":1,"u":true}`, "accept : an earlier attempt of unknown outcome has deleted it: what was wanted"},
		{`"method":"DELETE","status":410,"state":{"v":1,"u":true}`, "accept : an earlier attempt of unknown outcome has deleted it: what was wanted"},
		{`"method":"POST","status":199`, "fail ambiguous: not idempotent and the outcome is unknown: a repeat could do it twice"},
		{`"method":"GET","status":99`, "retry : the rule says so"},
		{`"method":"GET","status":101`, "retry : the rule says so"},
		{`"method":"GET","status":101,"headers":{"upgrade":"websocket"}`, "accept : a successful reply that no rule matches"},
		{`"method":"GET","status":0`, "fail permanent: the rule says so"},
	} {
		c, err := ParseCase([]byte(`{"id":"x","provider":"http",` + tt.given + `}`))
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.Decide(&c)
		if got := a.Action + " " + a.As + ": " + a.Reason; err != nil || got != tt.want {
			t.Errorf("given %s\ngot  %s, %v\nwant %s", tt.given, got, err, tt.want)
		}
	}
}
