package enginetest

import (
	"fmt"
	"strconv"
	"time"
)

// outcome is what becomes of a command.
type outcome struct {
	fault   Fault     // "" = none
	until   time.Time // what a refusal names
	refusal int64     // of those that name a time
	took    time.Duration
}

// named returns how many units of time there are until o.until, rounded up, as the refusal
// tells the client.
func (o outcome) named(unit time.Duration) int64 {
	return int64((time.Until(o.until) + unit - 1) / unit)
}

// throttleTime is how long a refusal tells the client to wait.
const throttleTime = 2 * time.Second

// command counts a command, and says what becomes of it. a is nil before the login. about
// tells the command from others of its kind: the messages or the address that it names.
func (c *session) command(a *account, command, about string) outcome {
	sent, marked := c.sentAt()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Requests++
	who := c.conn.RemoteAddr().String()
	var t *tries
	if a != nil {
		who = a.name
		t = a.triesOf(command + " " + about)
		if marked {
			what := fmt.Sprintf("%s of %s", command, a.name)
			c.refusals.count(&a.refusals, sent, what)
			c.refusals.count(&t.refusals, sent, what)
		}
	}
	o := c.decideLocked(a, t, command, about)
	attempt := 0
	if t != nil {
		attempt = t.count(o.fault)
	}
	o.took = latency(c.o.Latency, chance(c.o.Seed, c.Name(), who, command, about, strconv.Itoa(attempt), "latency"))
	if o.fault == Slow {
		o.took += slowness
	}
	switch o.fault {
	case "", Slow, ConnectionLost:
	case ReplyLost:
		c.counts.RepliesLost++
	default:
		c.counts.Refused[o.fault]++
	}
	switch {
	case a == nil:
	case o.fault == Throttled:
		o.refusal = c.refusals.add(&a.refusals, o.until)
	case o.fault == Greylisted:
		o.refusal = c.refusals.add(&t.refusals, o.until)
	}
	return o
}

// triesOf returns the counts of a command, and what it is about. Beyond maxTries they are
// forgotten at once.
func (a *account) triesOf(key string) *tries {
	t := a.tries[key]
	if t == nil {
		t = new(tries)
		if len(a.tries) < maxTries {
			a.tries[key] = t
		}
	}
	return t
}

// count counts an attempt, and returns how many there were before.
func (t *tries) count(fault Fault) (before int) {
	before = t.failed + t.done
	if fault == "" {
		t.done++
	} else {
		t.failed++
	}
	return before
}

// decideLocked says which fault a command meets.
func (c *session) decideLocked(a *account, t *tries, command, about string) outcome {
	suits := func(f Fault) bool { return c.spoken.suits(f, command) }
	now := time.Now()
	if a != nil && now.Before(a.until) {
		return outcome{fault: Throttled, until: a.until}
	}
	if t != nil && now.Before(t.until) {
		return outcome{fault: Greylisted, until: t.until}
	}
	fault, ok := c.scripted.next(command, suits)
	if !ok && !c.o.Faultless && t != nil && t.failed < maxFaults*(t.done+1) {
		u := chance(c.o.Seed, c.Name(), a.name, command, about, strconv.Itoa(t.failed), strconv.Itoa(t.done), "fault")
		f, _ := drawn(c.spoken.faults(), u, command == "APPEND" || command == "DATA", suits)
		fault = f.Fault
	}
	o := outcome{fault: fault}
	switch fault {
	case Throttled:
		o.until = now.Add(throttleTime)
		if a != nil {
			a.until = o.until
		}
	case Greylisted:
		o.until = now.Add(throttleTime)
		if t != nil {
			t.until = o.until
		}
	}
	return o
}
