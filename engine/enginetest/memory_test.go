package enginetest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryConn(t *testing.T) {
	text := strings.Repeat("0123456789", bufferSize/4) // more than the buffer holds
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, a, b net.Conn)
	}{
		{"both write before they read", func(t *testing.T, a, b net.Conn) {
			for _, c := range []net.Conn{a, b} {
				if n, err := io.WriteString(c, "hello"); n != 5 || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			}
			for _, c := range []net.Conn{a, b} {
				p := make([]byte, 10)
				if n, err := c.Read(p); string(p[:n]) != "hello" || err != nil {
					t.Errorf("read %q, %v", p[:n], err)
				}
			}
		}},
		{"more than the buffer holds", func(t *testing.T, a, b net.Conn) {
			go func() {
				io.WriteString(a, text)
				a.Close()
			}()
			if got, err := io.ReadAll(b); string(got) != text || err != nil {
				t.Errorf("read %d bytes, %v, want %d", len(got), err, len(text))
			}
		}},
		{"a read's deadline", func(t *testing.T, a, b net.Conn) {
			began := time.Now()
			a.SetDeadline(began.Add(time.Second))
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			a.SetReadDeadline(time.Time{})
			io.WriteString(b, "x")
			if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("after that: %d, %v", n, err)
			}
		}},
		{"a write's deadline", func(t *testing.T, a, b net.Conn) {
			a.SetWriteDeadline(time.Now().Add(time.Second))
			var timeout net.Error
			if n, err := io.WriteString(a, text); n != bufferSize || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("wrote %d, %v", n, err)
			}
		}},
		{"closed by itself", func(t *testing.T, a, b net.Conn) {
			done := make(chan error)
			go func() { _, err := a.Read(make([]byte, 1)); done <- err }()
			synctest.Wait()
			a.Close()
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: %v", err)
			}
			if _, err := io.WriteString(a, "x"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v", err)
			}
		}},
		{"closed by the other", func(t *testing.T, a, b net.Conn) {
			io.WriteString(b, "last words")
			b.Close()
			if got, err := io.ReadAll(a); !bytes.Equal(got, []byte("last words")) || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if _, err := io.WriteString(a, "x"); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write: %v", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newMemoryConns()
				defer a.Close()
				defer b.Close()
				tt.run(t, a, b)
			})
		})
	}
}
