package record_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/engine/record"
	"github.com/recourse-go/recourse/limiter"
)

// The reply to a send is lost. What is recorded of it is a case that `recourse decide` and
// `recourse diff` read.
func Example() {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "errors.jsonl")
	rec, err := record.New(record.Options{File: path})
	if err != nil {
		log.Fatal(err)
	}

	gmail := enginetest.NewGmail(enginetest.Options{Faultless: true, Latency: 1})
	defer gmail.Close()
	gmail.Inject(enginetest.ReplyLost)
	tokens := enginetest.NewTokens(gmail)
	eng, err := engine.New(engine.Options{Authorize: tokens.Authorize, Observer: rec})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	mailbox := gmail.Mailboxes()[0]
	ctx := engine.WithCall(context.Background(), engine.Call{Provider: "gmail", Keys: limiter.Keys{Account: mailbox}})
	if resp, err := eng.Transport(enginetest.NewTransport(gmail)).RoundTrip(gmail.SendRequest(mailbox, "message-1").WithContext(ctx)); err == nil {
		resp.Body.Close()
	}
	if err := rec.Close(); err != nil {
		log.Fatal(err)
	}

	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct {
			Operation string
			Extracted struct{ Network string }
			Decided   struct{ Rule, Action, As string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			log.Fatal(err)
		}
		fmt.Println(line.Operation, line.Extracted.Network, line.Decided.Action, line.Decided.As)
	}
	fmt.Println(rec.Stats().Written, "written")
	// Output:
	// messages.send eof fail ambiguous
	// 1 written
}
