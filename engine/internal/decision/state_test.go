package decision

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The JSON form stays below 210 bytes whatever a State holds, and what it
// cannot hold it holds as the most, never as less.
func TestStateJSONSize(t *testing.T) {
	worst := State{
		Attempts: math.MaxInt, reauths: math.MaxInt, Waits: math.MaxInt,
		Waited: math.MaxInt64, Spent: math.MaxInt64, last: math.MaxInt64,
		Began: time.Unix(math.MaxInt32*1000, 0), unknown: true, short: math.MaxUint8,
	}
	for i := range worst.used {
		worst.used[i] = usedBackoff{math.MaxUint32, math.MaxInt32, math.MaxInt32, math.MaxInt64}
	}
	b, err := json.Marshal(worst)
	if err != nil || len(b) >= 210 {
		t.Fatalf("%d bytes, %v: %s", len(b), err, b)
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	year := 365 * 24 * time.Hour
	if s.Attempts != 65535 || s.Waited != year || s.Spent != year || s.used[3].attempts != 65535 || s.used[3].since != year {
		t.Errorf("came back as %+v", s)
	}
	if b, _ := json.Marshal(State{}); string(b) != `{"v":1}` {
		t.Errorf("a new call's state is %s", b)
	}
	if b, _ := json.Marshal(State{Attempts: -1, Spent: -1}); string(b) != `{"v":1}` {
		t.Errorf("a negative state is %s", b)
	}
}

func FuzzStateJSON(f *testing.F) {
	f.Add(`{"v":1,"t":1764000000000,"n":3,"r":1,"w":2,"wt":60000,"s":1000,"d":500,"b":"AAAAAQECAw"}`)
	f.Add(`{"v":1,"b":"_____wAAAAAAAAAAAAAAAAAA"}`)
	f.Add(`{"v":1,"w":2,"wt":60000,"h":2}`)
	f.Add(`{"v":2}`)
	f.Fuzz(func(t *testing.T, in string) {
		var s State
		if json.Unmarshal([]byte(in), &s) != nil {
			if s != (State{}) {
				t.Fatalf("%s: refused, but read as %+v", in, s)
			}
			return
		}
		b, err := json.Marshal(s)
		if err != nil || len(b) >= 210 {
			t.Fatalf("%s: written as %d bytes %s, %v", in, len(b), b, err)
		}
		var again State
		if err := json.Unmarshal(b, &again); err != nil || again != s {
			t.Fatalf("%s: read as %+v, written as %s, read as %+v, %v", in, s, b, again, err)
		}
	})
}

// Throttling, with a hint or without, burns no attempts of what is retried, and
// is bounded by itself.
func TestThrottlingBurnsNoAttempts(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0},
		policy.Rule{Name: "server", When: `status == 500`, Action: policy.Retry, Backoff: 0})
	var s State
	decide := func(status int, hint time.Duration) Decision {
		d := decide(c, s, &rules.Event{Protocol: "http", Status: status, RetryAfter: hint, Idempotent: true, Sent: true, Elapsed: s.Spent}, 0)
		s = d.State
		return d
	}
	for i, want := range []struct {
		status int
		hint   time.Duration
		action policy.Action
	}{
		{429, 0, policy.Retry}, {500, 0, policy.Retry}, {429, 0, policy.Retry}, {429, time.Second, policy.Wait},
		{500, 0, policy.Retry}, {429, time.Hour, policy.Wait}, {500, 0, policy.Retry}, {500, 0, policy.Fail},
	} {
		if d := decide(want.status, want.hint); d.Action != want.action {
			t.Fatalf("step %d, HTTP %d: got %v as %q (%v), want %v", i, want.status, d.Action, d.As, d.Reason, want.action)
		}
	}
	if s.Attempts != 8 || s.Waits != 2 || Retries(&s) != 6 {
		t.Errorf("%d attempts, %d waits, %d retries; want 8, 2, 6", s.Attempts, s.Waits, Retries(&s))
	}
	s = State{}
	for i := range 4 {
		if d := decide(429, 0); (d.Action == policy.Fail) != (i == 3) {
			t.Errorf("throttle %d without a hint: %v as %q", i+1, d.Action, d.As)
		}
	}
}

// A hostile event or state yields a decision with sane times.
func TestDecideExtremes(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0},
		policy.Rule{Name: "server", When: `status == 500`, Action: policy.Retry, Backoff: 0})
	for _, attempt := range []int{0, 1, 1 << 16, math.MaxInt32, math.MaxInt32 + 2, 1<<32 + 1, math.MaxInt} {
		for _, d := range []time.Duration{0, 1, time.Hour, math.MaxInt64} {
			for _, status := range []int{429, 500} {
				for _, u := range []float64{0, 0.5, math.Nextafter(1, 0)} {
					e := rules.Event{Protocol: "http", Status: status, RetryAfter: d, Attempt: attempt, Elapsed: d, Idempotent: true}
					got := decide(c, State{Spent: d, Waited: min(d, MaxAsked)}, &e, u)
					if got.Delay < 0 || got.MinDelay < 0 || got.Delay < got.MinDelay || got.Delay > 2*MaxAsked {
						t.Errorf("attempt %d, %v, HTTP %d, u %v: delay %v, at least %v", attempt, d, status, u, got.Delay, got.MinDelay)
					}
					if attempt > 4 && status == 500 && d == 0 && got.Action != policy.Fail {
						t.Errorf("attempt %d: %v, want fail", attempt, got.Action)
					}
				}
			}
		}
	}
}

func TestStateUnmarshalRefuses(t *testing.T) {
	for _, in := range []string{
		``, `[]`, `{}`, `{"v":2}`, `{"v":1,"n":-1}`, `{"v":1,"n":65536}`, `{"v":1,"s":-1}`, `{"v":1,"wt":9223372036854775807}`,
		`{"v":1,"t":-1}`, `{"v":1,"t":99999999999999}`, `{"v":1,"b":[1,2,3,4]}`, `{"v":1,"b":"*"}`, `{"v":1,"b":"AAAA"}`,
		`{"v":1,"b":"AAAAAAEBAQ"}`, `{"v":1,"b":"AAAAAQIBAQ"}`, `{"v":1,"b":"AAAAAQ"}`,
		`{"v":1,"b":"` + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0, 0, 0, 1, 1, 1, 1}, maxUsed+1)) + `"}`,
	} {
		s := State{Attempts: 7}
		if err := json.Unmarshal([]byte(in), &s); err == nil {
			t.Errorf("%s: no error, got %+v", in, s)
		} else if s.Attempts != 7 {
			t.Errorf("%s: changed the state to %+v in spite of %v", in, s, err)
		}
	}
}

// A call that meets more backoffs than a State holds gives up sooner, not later.
func TestStateOverflow(t *testing.T) {
	p := &policy.Policy{Name: "test", Rules: []policy.Rule{}}
	var src []rules.Rule
	for i := range 9 {
		p.Backoffs = append(p.Backoffs, policy.Backoff{Name: fmt.Sprint("b", i), Initial: time.Second, Multiplier: 1, Attempts: 5})
		p.Rules = append(p.Rules, policy.Rule{Name: fmt.Sprint("r", i), Action: policy.Retry, Backoff: i})
		src = append(src, rules.Rule{Name: fmt.Sprint("r", i), When: fmt.Sprint("status == ", 500+i)})
	}
	p.Rules = append(p.Rules, policy.Rule{Name: "default", Action: policy.Fail, Backoff: -1})
	set, err := rules.Compile(src, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Matcher = set
	c := Compile(p, 3, time.Hour)
	var s State
	n := 0
	for ; ; n++ {
		d := decide(c, s, &rules.Event{Protocol: "http", Status: 500 + n%9, Idempotent: true}, 0)
		if s = d.State; d.Action == policy.Fail {
			break
		}
		if n > 9*4 {
			t.Fatal("it never gives up")
		}
	}
	if n < 4 {
		t.Errorf("gave up after %d failures", n+1)
	}
}

func TestInAttempt(t *testing.T) {
	t1, t2 := time.Unix(1, 0), time.Unix(2, 0)
	tests := []struct {
		name  string
		given State
		want  State
	}{
		{"first attempt", State{}, State{Attempts: 1, Began: t2, unknown: true}},
		{"after a failure", State{Attempts: 2, Waits: 1, Began: t1, reauths: 1}, State{Attempts: 3, Waits: 1, Began: t1, reauths: 1, unknown: true}},
		{"after an unknown outcome", State{Attempts: 1, Began: t1, unknown: true}, State{Attempts: 2, Began: t1, unknown: true}},
	}
	for _, tt := range tests {
		if got := InAttempt(tt.given, t2); got != tt.want {
			t.Errorf("%s: InAttempt(%+v) = %+v, want %+v", tt.name, tt.given, got, tt.want)
		}
	}
}
