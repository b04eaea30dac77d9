package enginetest

import (
	"fmt"
	"strconv"
	"time"
)

// Message is one message of a mailbox, as far as a sync job needs it.
type Message struct {
	ID      string
	Subject string
	Gone    bool // it is listed although it was deleted, so that a get is answered by 404
}

// mailbox is everything that a server knows about one account. The server's lock guards it.
type mailbox struct {
	name     string
	messages []Message
	byID     map[string]int

	sent     map[string]int // how often each message was delivered, by its own identity
	attempts map[string]int // how many requests there were, by operation and message

	inflight int // requests inside the handler
	admitted int // requests inside the handler that were not refused
	bucket   bucket
	recent   window
	until    time.Time // throttled: everything is refused before this time

	refusals   []*refusal // those that named a time, until a while after it
	generation int        // number of the newest token; 0 = none issued yet
	uses       int        // requests made with the newest token
	issued     time.Time  // when the newest token was

	peakInflight int
	peakUnits    int64
}

// reset fills the mailbox anew and forgets all that happened.
func (m *mailbox) reset(seed uint64, provider string, n int, gone float64, b bucket) {
	name := m.name
	*m = mailbox{
		name: name, bucket: b,
		byID: make(map[string]int, n), sent: map[string]int{}, attempts: map[string]int{},
	}
	for i := range n {
		id := hexID(seed, provider, name, "message", strconv.Itoa(i))
		m.byID[id] = len(m.messages)
		m.messages = append(m.messages, Message{
			ID:      id,
			Subject: fmt.Sprintf("Message %d of %s", i+1, name),
			Gone:    chance(seed, provider, name, "gone", id) < gone,
		})
	}
}

// duplicates is the number of deliveries beyond the first of each sent message.
func (m *mailbox) duplicates() int {
	n := 0
	for _, times := range m.sent {
		n += times - 1
	}
	return n
}

// bucket is a token bucket: at most burst + rate·t units pass in any time t.
// The zero value has no limit.
type bucket struct {
	rate, burst float64
	level       float64
	last        time.Time // zero = never used: full
}

// take removes n units if they are there.
func (b *bucket) take(now time.Time, n int64) bool {
	if b.rate == 0 {
		return true
	}
	if b.last.IsZero() {
		b.level = b.burst
	} else if d := now.Sub(b.last); d > 0 {
		b.level = min(b.burst, b.level+b.rate*d.Seconds())
	}
	if b.last.IsZero() || now.After(b.last) {
		b.last = now
	}
	// A billionth of a unit forgives the rounding of the line above.
	if b.level+1e-9 < float64(n) {
		return false
	}
	b.level -= float64(n)
	return true
}

// window sums units over the last second.
type window struct {
	at    []time.Time
	units []int64
	sum   int64
}

// add counts n units at now and returns the sum over (now − 1 s, now].
func (w *window) add(now time.Time, n int64) int64 {
	from := now.Add(-time.Second)
	drop := 0
	for drop < len(w.at) && !w.at[drop].After(from) {
		w.sum -= w.units[drop]
		drop++
	}
	w.at, w.units = append(w.at[drop:], now), append(w.units[drop:], n)
	w.sum += n
	return w.sum
}
