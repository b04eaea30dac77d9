package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/demo"
)

func TestDemoUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--workers", "0"}, {"--workers", "-1"}, {"--workers", "100000"}, {"--workers", "many"},
		{"--seed", "-1"}, {"--seed", "x"}, {"--sede", "1"}, {"now"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), append([]string{"demo"}, args...), strings.NewReader(""), &stdout, &stderr)
		if code != exitUsage || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("demo %q: exit code %d, stdout %q, stderr %q, want %d and a message on stderr", args, code, &stdout, &stderr, exitUsage)
		}
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range [][]string{nil, {"--json"}} {
		var stdout, stderr bytes.Buffer
		code := run(ctx, append([]string{"demo"}, args...), strings.NewReader(""), &stdout, &stderr)
		if want := "recourse demo: interrupted\n"; code != exitFailed || stderr.String() != want {
			t.Errorf("demo %q: exit code %d, stderr %q, want %d, %q", args, code, &stderr, exitFailed, want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	at := func(pass string, seconds float64, finished bool) demo.Progress {
		return demo.Progress{Pass: pass, Elapsed: time.Duration(seconds * float64(time.Second)), Finished: finished}
	}
	steps := []demo.Progress{at("naive", 0.1, false), at("naive", 2, false), at("naive", 2.1, false), at("naive", 3, true), at("recourse", 0.1, false), at("recourse", 1, true)}
	for _, tt := range []struct {
		live bool
		want string
	}{
		{false, "naive     2.0s\nnaive     3.0s\nrecourse  1.0s\n"},
		{true, "\rnaive 0.1s\x1b[K\rnaive 2.0s\x1b[K\rnaive 2.1s\x1b[K\rnaive 3.0s\x1b[K\n\rrecourse 0.1s\x1b[K\rrecourse 1.0s\x1b[K\n"},
	} {
		t.Run(fmt.Sprintf("live %t", tt.live), func(t *testing.T) {
			var b bytes.Buffer
			l := &progressLine{w: &b, live: tt.live}
			for _, p := range steps {
				l.show(p)
			}
			l.end()
			if b.String() != tt.want {
				t.Errorf("got  %q\nwant %q", &b, tt.want)
			}
		})
	}
}
