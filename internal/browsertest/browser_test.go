package browsertest

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/recourse-go/recourse/internal/testserver"
)

// pkg is the Debian package that has the smallest of programs.
const pkg = "chromium-headless-shell"

// programs are the browsers that will do, the smallest first. Debian's command of that name
// is a shell that waits for the program, so the program comes before it: what is started and
// stopped is then the browser itself.
var programs = []string{"/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell", "chromium", "google-chrome"}

// starting is how long the browser may take to start: it reads 200 MB from the disk, which
// a busy machine may have to share.
const starting = 2 * time.Minute

// browser is the one that all tests share. Each test opens a tab in a profile of its own,
// as a private window does, so that no test sees another's. Closed in TestMain.
var browser struct {
	once  sync.Once
	ctx   context.Context
	close context.CancelFunc
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.close != nil {
		browser.close() // ends the process that was started, and removes its folder
	}
	os.Exit(code)
}

// running is the context of the running browser, which is started when a test first needs it.
func running(tb testing.TB) context.Context {
	tb.Helper()
	browser.once.Do(func() {
		path := installed()
		if path == "" {
			return
		}
		// The defaults keep the browser's folder in a temporary one, leave the sandbox out for root
		// only, and end the process with this one, however it ends. No name but loopback's is looked up.
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
		allocator, closeAllocator := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, closeBrowser := chromedp.NewContext(allocator)
		browser.close = func() { closeBrowser(); closeAllocator() }
		started := make(chan error, 1)
		go func() { started <- chromedp.Do(ctx) }() // not under a deadline of its own: the browser would end with it
		select {
		case browser.err = <-started:
		case <-time.After(starting):
			browser.err = context.DeadlineExceeded
		}
		browser.ctx = ctx
	})
	if browser.err != nil {
		tb.Fatalf("starting the browser: %v", browser.err)
	}
	if browser.ctx == nil {
		testserver.Missing(tb, pkg, pkg)
	}
	return browser.ctx
}

// installed is the path of the first of programs that there is; "" = none.
func installed() string {
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	return ""
}
