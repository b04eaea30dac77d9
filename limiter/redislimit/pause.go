package redislimit

import (
	"context"
	"errors"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

var _ limiter.PauseStore = (*Store)(nil)

var errPauses = errors.New("redislimit: too many changes of pauses in one request")

// pausesMessage is the message that accounts were paused or resumed. It is no key's name.
const pausesMessage = "pauses"

// Pause implements [limiter.PauseStore]. All its data is in one slot of a cluster, and never
// expires.
func (s *Store) Pause(ctx context.Context, r *limiter.PauseRequest) (limiter.PauseAnswer, error) {
	var a limiter.PauseAnswer
	if len(r.Changes) > limiter.MaxPauseChanges {
		return a, errPauses
	}
	var w writer
	w.change(r.Known.Store)
	w.change(r.Known.Change)
	w.change(r.Known.Page)
	w.short(len(r.Changes))
	for i := range r.Changes {
		c := &r.Changes[i]
		w = append(w, c.Account.Name[:]...)
		w.change(c.Version)
		w.bool(c.Late)
		w.change(c.After)
		w.bool(c.Resumed)
		w.pause(c.Ago)
		if c.Left < 0 {
			w.number(-1)
		} else {
			w.pause(c.Left)
		}
		w = append(w, c.By[:]...)
		w.change(c.Number)
		reason := c.Reason[:min(len(c.Reason), limiter.MaxPauseReason)]
		w.short(len(reason))
		w = append(w, reason...)
	}
	name := s.tags[0] + "pauses"
	call := Call{Keys: []string{name, name + ":order", name + ":ends", name + ":meta"}, Args: s.args(nil, w, 0, true)}
	// No Options.Timeout here: the caller's context bounds how long a call waits for this.
	if err := s.server.Eval(ctx, pauseScript, &call); err != nil {
		return a, err
	}
	read := reader{s: call.Answer}
	bits := read.byte()
	a.Lost, a.More = bits&1 != 0, bits&2 != 0
	a.Known = limiter.PauseMark{Store: uint64(read.number()), Change: uint64(read.number()), Page: uint64(read.number())}
	for range read.short() {
		bits := read.byte()
		a.Changed = append(a.Changed, limiter.PauseResult{Full: bits == 1, Newer: bits == 2, AccountPause: read.pause()})
	}
	for read.s != "" {
		a.Entries = append(a.Entries, read.pause())
	}
	if read.bad || len(a.Changed) != len(r.Changes) {
		return limiter.PauseAnswer{}, errAnswer
	}
	return a, nil
}

// change writes a version or a mark of a pause, cut to 2⁵², so that later ones still fit.
func (w *writer) change(v uint64) { w.version(min(v, 1<<52)) }

// pause writes a duration of a pause, in microseconds rounded up.
func (w *writer) pause(d time.Duration) {
	d = min(max(d, 0), storecodec.LongestPause)
	us := d / time.Microsecond
	if d%time.Microsecond > 0 {
		us++
	}
	w.number(float64(us))
}

// pause reads an entry.
func (r *reader) pause() (p limiter.AccountPause) {
	copy(p.Account.Name[:], r.next(len(p.Account.Name)))
	p.Version, p.Resumed = uint64(r.number()), r.byte() != 0
	p.Ago = time.Duration(r.number()) * time.Microsecond
	p.Left = time.Duration(r.number()) * time.Microsecond
	copy(p.By[:], r.next(len(p.By)))
	p.Number = uint64(r.number())
	n := r.short()
	if len(r.s) < n {
		r.s, r.bad = "", true
		return p
	}
	p.Reason, r.s = r.s[:n], r.s[n:]
	return p
}
