package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/demo"
)

func TestDemoUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--workers", "0"}, {"--workers", "-1"}, {"--workers", "100000"}, {"--workers", "many"},
		{"--seed", "-1"}, {"--page=0.0.0.0:1"}, {"--page=8080"}, {"--seed", "x"}, {"--sede", "1"}, {"now"},
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

// The address of the page must be one of this machine.
func TestDemoPageAddress(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{":0", true}, {":8080", true}, {"127.0.0.1:8080", true}, {"localhost:8080", true}, {"[::1]:8080", true},
		{"0.0.0.0:8080", false}, {"192.0.2.1:8080", false}, {"example.org:8080", false}, {"8080", false}, {"localhost", false}, {"127.0.0.1:", false}, {"[::]:1", false},
	} {
		if got := onThisMachine(tt.addr); got != tt.want {
			t.Errorf("%q: got %t, want %t", tt.addr, got, tt.want)
		}
	}
}

// lines passes each line of what is written on, once it is whole.
type lines struct {
	rest string
	each func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, whole := strings.Cut(l.rest, "\n")
		if !whole {
			return len(p), nil
		}
		l.rest = rest
		l.each(line)
	}
}

// The first line names the page, which answers while the demo runs, and shows its mailboxes.
func TestDemoPage(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		json bool
	}{
		{"text", []string{"demo", "--page"}, false},
		{"JSON", []string{"demo", "--page=127.0.0.1:0", "--json"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			first, n := make(chan string, 1), 0
			out := &lines{each: func(line string) {
				if n++; n == 1 {
					first <- line
				}
			}}
			var other bytes.Buffer
			stdout, stderr := io.Writer(out), io.Writer(&other)
			if tt.json {
				stdout, stderr = stderr, stdout // one object is all that goes to stdout
			}
			code := make(chan exitCode, 1)
			go func() { code <- run(ctx, tt.args, strings.NewReader(""), stdout, stderr) }()
			line := <-first
			url, ok := strings.CutPrefix(line, "Debug page: ")
			if !ok || !strings.HasPrefix(url, "http://127.0.0.1:") {
				t.Fatalf("first line %q, want the page's address", line)
			}
			for path, want := range map[string]string{"": "<title>Recourse</title>", "fullest.json": `"provider": "`, "../../": "<title>Recourse</title>"} {
				var body string
				for !strings.Contains(body, want) { // the first calls have to come, and the test's own deadline ends it
					resp, err := http.Get(url + path)
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK {
						t.Fatalf("%s: status %d, %v", path, resp.StatusCode, err)
					}
					body = string(b)
				}
			}
			cancel()
			if c := <-code; c != exitFailed {
				t.Errorf("interrupted in the middle: exit code %d, want %d", c, exitFailed)
			}
			if _, err := http.Get(url); err == nil {
				t.Error("the page still answers after the end")
			}
		})
	}
}
