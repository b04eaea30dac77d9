package neterr_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"testing"

	"github.com/recourse-go/recourse/rules"
)

// FuzzText holds texts to what they may say: an error that is only text
// was always sent, and what Text takes for certain it takes for so only
// where it stands alone.
func FuzzText(f *testing.F) {
	for _, s := range []string{"dial tcp: lookup x: no such host", `Post "https://x/\"": dial tcp 1.2.3.4:443: i/o timeout`, "tls: bad record MAC", "connect: x", "dns", "EOF\ndial tcp x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if kind, sent := read(errors.New(s)); !sent {
			t.Errorf("given an error of the text %q\ngot  %q, not sent", s, kind)
		}
		kind, sent := text(s)
		if sent {
			return
		}
		if kind == "" || kind == rules.NetworkReset || kind == rules.NetworkEOF {
			t.Errorf("given %q\ngot  %q, not sent", s, kind)
		}
		for _, more := range []string{"EOF\n" + s, s + "\nEOF", "primary: EOF; backup: " + s, "500: " + s} {
			if kind, sent := text(more); !sent {
				t.Errorf("given %q\ngot  %q, not sent", more, kind)
			}
		}
	})
}

// FuzzJoined makes errors of bytes: however they are wrapped and
// joined, one is not sent only where each error at the ends is not.
func FuzzJoined(f *testing.F) {
	f.Add([]byte{0, 1, 5})
	f.Add([]byte{0, 3, 2, 5, 6, 4, 7, 1, 8})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 200 {
			return
		}
		type built struct {
			err  error
			sent bool
		}
		stack := []built{{refused, false}}
		for _, b := range program {
			top := &stack[len(stack)-1]
			switch b % 10 {
			case 0:
				stack = append(stack, built{unnamed, false})
			case 1:
				stack = append(stack, built{lost, true})
			case 2:
				stack = append(stack, built{errUnknown, true})
			case 3:
				stack = append(stack, built{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true})
			case 4:
				top.err = fmt.Errorf("send: %w", top.err)
			case 5:
				top.err = &url.Error{Op: "Post", URL: "https://x", Err: top.err}
			case 6:
				*top = built{&net.OpError{Op: "write", Err: top.err}, true}
			case 7:
				*top = built{&net.OpError{Op: "proxyconnect", Err: top.err}, false}
			default:
				if len(stack) == 1 {
					continue
				}
				under := &stack[len(stack)-2]
				joined := built{errors.Join(under.err, top.err), under.sent || top.sent}
				if b%10 == 9 {
					joined.err = retryErrors{listed{under.err, top.err}}
				}
				stack = stack[:len(stack)-1]
				*under = joined
			}
		}
		for _, b := range stack {
			kind, sent := read(b.err)
			if sent != b.sent && (b.sent || len(b.err.Error()) < 4<<10) { // of longer texts nothing is certain
				t.Errorf("given %q\ngot  %q sent %v, want %v", b.err, kind, sent, b.sent)
			}
			if k, s := inEvent(b.err); k != kind || s != sent {
				t.Errorf("given %q\ngot  %q sent %v of Error\nwant %q sent %v", b.err, k, s, kind, sent)
			}
		}
	})
}
