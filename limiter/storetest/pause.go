package storetest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

var _ limiter.PauseStore = (*Memory)(nil)

const (
	maxVersion   = int64(1) << 52                              // greater versions are cut to it
	pauseMarks   = 200                                         // the most marks that are kept
	longestPause = 100 * 366 * 24 * hour                       // longer pauses are cut to it
	pauseKept    = int64(limiter.PauseKept / time.Microsecond) // how long an entry is kept after its pause is over
)

// pauses are the entries of accounts that are paused or were resumed.
type pauses struct {
	entries map[[16]byte]*pauseEntry
	store   int64   // the number of this store's data, by which a loss is noticed; 0 = there has been no change
	last    int64   // the number of the latest change
	marks   []int64 // the value of last after each of the latest requests with changes, newest last
	paused  int     // how many entries say that their account is paused
}

// pauseEntry is what a store keeps of an account.
type pauseEntry struct {
	account [16]byte
	version int64
	change  int64 // the number of the change by which the store got it
	at      int64 // when it was paused or resumed
	end     int64 // when the pause ended or will end, by itself or because it was resumed; 0 = it does not end by itself
	resumed bool
	reason  string
	by      limiter.StoreID
	number  int64
}

// over reports whether the account is no longer paused. Such an entry is kept for a while, so
// that no process restores an older pause.
func (e *pauseEntry) over(now int64) bool { return e.resumed || e.end != 0 && now >= e.end }

// Pause implements [limiter.PauseStore].
func (m *Memory) Pause(ctx context.Context, r *limiter.PauseRequest) (limiter.PauseAnswer, error) {
	request := *r
	request.Changes = slices.Clone(r.Changes)
	if len(request.Changes) > limiter.MaxPauseChanges {
		return limiter.PauseAnswer{}, errPauses
	}
	return do(ctx, m, "pause", func() limiter.PauseAnswer {
		before := m.pauses.last
		done := m.pauses.request(&request, m.now())
		if m.pauses.last != before {
			m.tell(limiter.StoreEvent{Paused: true}, nil)
		}
		return done
	})
}

// request makes the changes, and returns what has changed since the mark r.Known.
func (p *pauses) request(r *limiter.PauseRequest, now int64) (a limiter.PauseAnswer) {
	after := version(r.Known.Change)
	switch {
	case after == 0:
	case r.Known.Store != uint64(p.store) || !slices.Contains(p.marks, after):
		after, a.Lost = 0, true
	case r.Known.Page != 0:
		after = version(r.Known.Page)
	}
	if len(r.Changes) > 0 {
		before := p.last
		p.forget(now)
		for i := range r.Changes {
			a.Changed = append(a.Changed, p.change(&r.Changes[i], now))
		}
		if p.last != before {
			p.marks = append(p.marks, p.last)
			p.marks = p.marks[max(0, len(p.marks)-pauseMarks):]
		}
	}
	var changed []*pauseEntry
	for _, e := range p.entries {
		if e.change > after && !e.forgotten(now) {
			changed = append(changed, e)
		}
	}
	slices.SortFunc(changed, func(a, b *pauseEntry) int { return cmp.Compare(a.change, b.change) })
	a.Known = limiter.PauseMark{Store: uint64(p.store), Change: uint64(p.last)}
	if len(changed) > limiter.MaxPausesTold {
		changed = changed[:limiter.MaxPausesTold]
		a.More, a.Known.Page = true, uint64(changed[len(changed)-1].change)
	}
	for _, e := range changed {
		a.Entries = append(a.Entries, e.tell(now))
	}
	return a
}

// forgotten reports whether an entry may be dropped: its pause has been over for so long that
// no process restores an older one.
func (e *pauseEntry) forgotten(now int64) bool { return e.over(now) && now >= e.end+pauseKept }

// forget drops entries that are forgotten and, if too many pauses are over, the oldest of
// these. It counts the accounts that are paused.
func (p *pauses) forget(now int64) {
	p.paused = 0
	var over []*pauseEntry
	for k, e := range p.entries {
		switch {
		case e.forgotten(now):
			delete(p.entries, k)
		case e.over(now):
			over = append(over, e)
		default:
			p.paused++
		}
	}
	if n := len(over) - limiter.MaxPauses; n > 0 {
		slices.SortFunc(over, func(a, b *pauseEntry) int {
			return cmp.Or(cmp.Compare(a.end, b.end), slices.Compare(a.account[:], b.account[:]))
		})
		for _, e := range over[:n] {
			delete(p.entries, e.account)
		}
	}
}

func (p *pauses) change(c *limiter.PauseChange, now int64) (done limiter.PauseResult) {
	k := c.Account.Name
	old := p.entries[k]
	ago, left := pauseSpan(c.Ago), pauseSpan(c.Left)
	e := &pauseEntry{account: k, at: now - ago, resumed: c.Resumed, reason: c.Reason[:min(len(c.Reason), limiter.MaxPauseReason)], by: c.By, number: version(c.Number)}
	known, after, again := int64(0), version(c.After), false
	if old != nil {
		known = old.version
		if c.Version == 0 && old.by == c.By { // the process that made the old entry knows it
			after, again = max(after, known), e.number <= old.number
		}
	}
	switch {
	case c.Version != 0:
		e.version = version(c.Version)
	case c.Late:
		e.version = max(now-ago, after+1)
	default:
		e.version, e.at = max(p.next(now), after+1, known+1), now
	}
	if c.Version == 0 {
		done.Newer = min(known, maxVersion) > after
	}
	switch {
	case c.Resumed && c.Version != 0 && left > 0:
		e.end = now - pauseKept + min(left, pauseKept)
	case c.Resumed:
		e.end = now
	case left > 0:
		e.end = now + left
	}
	more := 0
	if !e.over(now) {
		more++
	}
	if old != nil && !old.over(now) {
		more--
	}
	switch {
	case again, done.Newer, e.version <= known, c.Left < 0:
		done.Newer = done.Newer && !again
	case more > 0 && p.paused >= limiter.MaxPauses:
		done.Full = true
	default:
		if p.store == 0 {
			p.store, p.entries = now, map[[16]byte]*pauseEntry{}
		}
		p.last = p.next(now)
		e.change = p.last
		p.entries[k] = e
		p.paused += more
		old = e
	}
	if old != nil {
		done.AccountPause = old.tell(now)
	}
	return done
}

// next returns the number of the next change.
func (p *pauses) next(now int64) int64 { return max(p.last+1, now) }

// version returns a version or a mark, cut to maxVersion.
func version(v uint64) int64 { return int64(min(v, uint64(maxVersion))) }

func (e *pauseEntry) tell(now int64) limiter.AccountPause {
	a := limiter.AccountPause{
		Account: limiter.StoreKey{Name: e.account}, Version: uint64(e.version), Resumed: e.over(now), Ago: duration(max(0, now-e.at)),
		By: e.by, Number: uint64(e.number),
	}
	switch {
	case a.Resumed:
		a.Left = duration(max(1, e.end+pauseKept-now))
	case e.end != 0:
		a.Left = duration(e.end - now)
		fallthrough
	default:
		a.Reason = e.reason
	}
	return a
}

// pauseSpan returns a duration in microseconds, rounded up and cut to the range from 0 to
// longestPause.
func pauseSpan(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return min(max(us, 0), longestPause)
}
