package pglimit

import (
	"context"
	"errors"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// This file shares which accounts are paused.

var _ limiter.PauseStore = (*Store)(nil)

var errPauses = errors.New("pglimit: too many changes of pauses in one request")

// pausesMessage is the notification that accounts were paused or resumed.
const pausesMessage = "p"

// Pause implements [limiter.PauseStore]. Its data is in logged tables, so that it survives a
// crash of the server.
func (s *Store) Pause(ctx context.Context, r *limiter.PauseRequest) (limiter.PauseAnswer, error) {
	var a limiter.PauseAnswer
	if len(r.Changes) > limiter.MaxPauseChanges {
		return a, errPauses
	}
	mark := []int64{markOf(r.Known.Store), markOf(r.Known.Change), markOf(r.Known.Page)}
	n := len(r.Changes)
	accounts, bys, p, reasons := make(uuids, 0, n), make(uuids, 0, n), make([]int64, 0, 7*n), make([][]byte, 0, n)
	for i := range r.Changes {
		c := &r.Changes[i]
		left := pauseSpan(c.Left)
		if c.Left < 0 {
			left = -1
		}
		accounts, bys = append(accounts, uuid(c.Account.Name)), append(bys, uuid(c.By))
		p = append(p, markOf(c.Version), number(c.Late), markOf(c.After), number(c.Resumed), pauseSpan(c.Ago), left, markOf(c.Number))
		reasons = append(reasons, []byte(c.Reason[:min(len(c.Reason), limiter.MaxPauseReason)]))
	}
	type answer struct {
		r        []int64
		accounts uuids
		bys      uuids
		reasons  [][]byte
	}
	got, err := outlast(ctx, s, func(ctx context.Context) (g answer, err error) {
		err = s.row(ctx, []any{&g.r, &g.accounts, &g.bys, &g.reasons}, s.pause, s.at(), mark, accounts, bys, p, reasons)
		return g, err
	})
	if err != nil {
		return a, err
	}
	n = len(got.accounts)
	if len(got.r) != 5+6*n || len(got.bys) != n || len(got.reasons) != n || n < len(r.Changes) {
		return a, errAnswer
	}
	a.Lost, a.More = got.r[0] != 0, got.r[1] != 0
	a.Known = limiter.PauseMark{Store: uint64(got.r[2]), Change: uint64(got.r[3]), Page: uint64(got.r[4])}
	for i := range n {
		f := got.r[5+6*i:]
		e := limiter.AccountPause{
			Account: limiter.StoreKey{Name: got.accounts[i].Bytes}, Version: uint64(f[1]), Resumed: f[2] != 0,
			Ago: duration(f[3]), Left: duration(f[4]), Reason: string(got.reasons[i]), By: got.bys[i].Bytes, Number: uint64(f[5]),
		}
		if i < len(r.Changes) {
			a.Changed = append(a.Changed, limiter.PauseResult{AccountPause: e, Full: f[0] == 1, Newer: f[0] == 2})
		} else {
			a.Entries = append(a.Entries, e)
		}
	}
	return a, nil
}

// markOf returns a version or a mark as the function takes it, cut to 2⁵², so that later ones
// still fit.
func markOf(v uint64) int64 { return int64(min(v, 1<<52)) }

// pauseSpan returns a duration of a pause in microseconds, rounded up.
func pauseSpan(d time.Duration) int64 {
	d = min(max(d, 0), storecodec.LongestPause)
	us := d / time.Microsecond
	if d%time.Microsecond > 0 {
		us++
	}
	return int64(us)
}
