package explain

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const shop = `version: 1
provider: shop
match: [{host: shop.example}]
extract:
  codes: [{json: errors.#.code}, {header: X-Code}]
  message: [{json: text}]
  retry_after: [{json: wait, as: s}]
  facts: {scope: [{json: scope}]}
operations:
  - {method: GET, path: /orders/*, operation: orders.get}
inspect:
  - {status: 207, operations: [orders.batch]}
backoff:
  default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: equal, attempts: 5, elapsed: 10m}
  long: {initial: 1m, min: 1m, max: 1h, multiplier: 2, jitter: none, attempts: 12}
limits:
  - {name: user, key: account, rate: 5/s}
rules:
  - {name: hidden, when: '"broken" in codes and status < 300', action: retry, replay: safe}
  - {name: expired, when: status == 401, action: reauth}
  - name: throttled
    when: status == 429 and (facts.scope == "user" or "userRateLimit" in codes or message contains "too many requests for this user")
    action: wait
    max_wait: 30m
    over: fail
    hold: user
  - {name: crowded, when: status == 429, action: wait, wait: 20m}
  - {name: down, when: status >= 500, action: retry, backoff: long}
  - {name: lost-again, when: network == "dns" and attempt > 2, action: fail, as: lost}
  - {name: lost, when: network != "", action: retry}
default: fail
`

func explained(t *testing.T, event string) *Explanation {
	t.Helper()
	set, found := policy.Load([]policy.File{
		{Name: "shop.yaml", Data: []byte(shop)},
		{Name: "corner.yaml", Data: []byte("version: 1\nprovider: corner\nextends: [shop]\nrules:\n  - {name: closed, when: status == 423, action: fail, as: closed}\n  - {name: down, when: status >= 500, action: wait, wait: 1h}\n")},
		{Name: "kiosk.yaml", Data: []byte("version: 1\nprovider: kiosk\nextends: [corner]\n")},
		{Name: "http.yaml", Data: []byte("version: 1\nprovider: http\nrules: []\ndefault: fail\n")},
	}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	d, err := corpus.NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	c, err := corpus.ParseEvent([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	x, err := Explain(d, &c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestText(t *testing.T) {
	tests := []struct{ name, event string }{
		{"asked", `{"provider":"shop","url":"https://shop.example/orders/5","status":429,"headers":{"Retry-After":"40","x-code":"userRateLimit"},"body":{"scope":"user","text":"Slow down"}}`},
		{"fixed", `{"provider":"shop","method":"GET","status":429}`},
		{"schedule", `{"provider":"shop","method":"GET","status":503,"attempt":3,"elapsed":"1m30s"}`},
		{"exhausted", `{"provider":"shop","method":"GET","network":"reset","attempt":5}`},
		{"ambiguous", `{"provider":"shop","method":"POST","network_error":"read: connection reset by peer"}`},
		{"reauth", `{"provider":"shop","method":"GET","status":401}`},
		{"over", `{"provider":"shop","method":"GET","status":429,"facts":{"scope":"user"},"retry_after":"2h"}`},
		{"ignored", `{"provider":"shop","method":"GET","status":429,"headers":{"Retry-After":"99999999"}}`},
		{"hidden", `{"provider":"shop","method":"GET","status":200,"codes":["broken"],"body":"{\"errors\":[{\"code\":\"broken\"}]}"}`},
		{"inspected", `{"provider":"shop","method":"GET","operation":"orders.batch","status":207,"body":"{\"errors\":[{\"code\":\"broken\"}]}"}`},
		{"success", `{"provider":"shop","method":"GET","status":204}`},
		{"default", `{"provider":"shop","method":"GET","status":418,"body":"` + strings.Repeat("teapot ", 30) + `","message":"` + strings.Repeat("teapot ", 30) + `"}`},
		{"several", `{"provider":"shop","method":"GET","status":429,"headers":{"Retry-After":["soon","7"]},"body":{"wait":90}}`},
		{"wide", `{"provider":"shop","status":429,"code":"` + strings.Repeat("制限", 30) + `","message":"リクエストが多すぎます"}`},
		{"inherited", `{"provider":"corner","method":"GET","status":401}`},
		{"replacing", `{"provider":"corner","method":"GET","status":503}`},
		{"replaced-above", `{"provider":"kiosk","method":"GET","status":503}`},
		{"unknown", `{"provider":"` + strings.Repeat("somebody", 20) + `","status":500}`},
		{"state", `{"provider":"shop","method":"GET","status":401,"state":{"v":1,"n":3,"r":1}}`},
		{"control", `{"provider":"shop","status":400,"message":"a\u001b[31mred\u0007\n\tb","code":"\u202e"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := explained(t, tt.event)
			var b strings.Builder
			if err := x.WriteText(&b, Style{}); err != nil {
				t.Fatal(err)
			}
			got := b.String()
			for line := range strings.Lines(got) {
				if n := columns(strings.TrimRight(line, "\n")); n > 80 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			if strings.ContainsAny(got, "\x1b\x07\r") {
				t.Errorf("control characters in %q", got)
			}
			path := filepath.Join("testdata", tt.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s\ndiffers from %s (run with -update to accept):\n got:\n%s\nwant:\n%s", tt.event, path, got, want)
			}
		})
	}
}

func TestColor(t *testing.T) {
	x := explained(t, `{"provider":"shop","method":"GET","status":503}`)
	var plain, color strings.Builder
	if err := x.WriteText(&plain, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteText(&color, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	without := strings.NewReplacer("\x1b[1m", "", "\x1b[36m", "", "\x1b[0m", "").Replace(color.String())
	if color.String() == plain.String() || without != plain.String() {
		t.Errorf("with colours\n%q\nwithout\n%q\nwant them to differ by colours alone", color.String(), plain.String())
	}
}

func TestWidth(t *testing.T) {
	x := explained(t, `{"provider":"shop","method":"GET","status":503}`)
	for _, width := range []int{40, 60, 80, 200} {
		var b strings.Builder
		if err := x.WriteText(&b, Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		longest := 0
		for line := range strings.Lines(b.String()) {
			longest = max(longest, len([]rune(line))-1)
		}
		if width >= 60 && longest > width {
			t.Errorf("width %d: a line of %d columns in\n%s", width, longest, b.String())
		}
	}
}

// What is foreseen ends, and says when the next attempts are.
func TestNext(t *testing.T) {
	tests := []struct{ name, event, want string }{
		{"schedule", `{"provider":"shop","method":"GET","network":"timeout"}`,
			"1 retry 1-1, 2 retry 1-2, 3 retry 2-4, 4 retry 4-8, 5 fail exhausted"},
		{"a rule that counts", `{"provider":"shop","method":"GET","network":"dns"}`, "1 retry 1-1, 2 retry 1-2, 3 fail lost"},
		{"asked-for waits", `{"provider":"shop","method":"GET","status":429,"retry_after":"7s","facts":{"scope":"user"}}`,
			"1 wait 7-7.7, 2 wait 7-7.7, 3 wait 7-7.7, 4 wait 7-8, 5 wait 7-8"},
		{"later attempt", `{"provider":"shop","method":"GET","network":"timeout","attempt":4}`, "4 retry 4-8, 5 fail exhausted"},
		{"reauth", `{"provider":"shop","method":"GET","status":401}`, "1 reauth 0-0, 2 fail needs_user"},
		{"fail", `{"provider":"shop","method":"GET","status":418}`, "1 fail permanent"},
		{"accept", `{"provider":"shop","method":"GET","status":200}`, "1 accept 0-0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := explained(t, tt.event)
			var list []string
			for _, a := range x.Next[:min(len(x.Next), 5)] {
				if a.Action == "fail" {
					list = append(list, fmt.Sprintf("%d fail %s", a.Number, a.As))
				} else {
					list = append(list, fmt.Sprintf("%d %s %g-%g", a.Number, a.Action, round(a.MinSeconds), round(a.MaxSeconds)))
				}
			}
			if got := strings.Join(list, ", "); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.event, got, tt.want)
			}
			if last := x.Next[len(x.Next)-1]; last.Action != "fail" && last.Action != "accept" {
				t.Errorf("%s: the last attempt foreseen is %+v, want an end", tt.event, last)
			}
		})
	}
}

func round(s float64) float64 { return float64(int(s*1000+0.5)) / 1000 }

// Every line is at least as short as it should be, and nothing is lost.
func TestBroken(t *testing.T) {
	for _, text := range []string{"", "a", "aa bb cc", strings.Repeat("word ", 30), strings.Repeat("x", 100), strings.Repeat("é", 50) + " b", strings.Repeat("語", 33), "header X-Rate-Limit-Remaining-For-You", strings.Repeat("e\u0301", 40)} {
		var b strings.Builder
		for line := range broken(text, 10) {
			if n := columns(line); n > 10 {
				t.Errorf("broken(%q): line of %d columns", text, n)
			}
			b.WriteString(line)
		}
		if got, want := strings.ReplaceAll(b.String(), " ", ""), strings.ReplaceAll(text, " ", ""); got != want {
			t.Errorf("broken(%q) keeps %q", text, got)
		}
	}
}

func TestColumns(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "é": 1, "e\u0301": 1, "語": 2, "한국": 4, "…—×": 3, "🙂": 2, "ｆｕｌｌ": 8} {
		if got := columns(s); got != want {
			t.Errorf("columns(%q) = %d, want %d", s, got, want)
		}
	}
}
