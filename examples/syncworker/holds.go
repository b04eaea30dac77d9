package main

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// observe stores until when a provider has closed a mailbox. The limits of a process end with it,
// and the next process must not come back too early either.
func (w *worker) observe(ctx context.Context, n *engine.Notice) {
	if n.Kind == engine.NoticeHold {
		_ = w.exec(context.WithoutCancel(ctx), `insert into holds (provider, mailbox, name, until) values ($1, $2, $3, $4)
			on conflict (provider, mailbox, name) do update set until = excluded.until where excluded.until > holds.until`,
			n.Provider, n.Account, n.Limit, n.Until.UnixMilli()) // at worst one request is refused again
	}
}

// recall closes the mailboxes that an earlier process has stored as closed. It reads all of them
// first, since Hold tells the observer, which writes to the same database.
func (w *worker) recall(ctx context.Context, eng *engine.Engine) error {
	type hold struct {
		provider, mailbox, limit string
		until                    int64
	}
	var holds []hold
	rows, err := w.db.QueryContext(ctx, "select provider, mailbox, name, until from holds where until > $1", time.Now().UnixMilli())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h hold
		if err := rows.Scan(&h.provider, &h.mailbox, &h.limit, &h.until); err != nil {
			return err
		}
		holds = append(holds, h)
	}
	for _, h := range holds {
		p, err := eng.Provider(h.provider)
		if err == nil {
			err = p.Hold(h.limit, limiter.Keys{Account: h.mailbox}, time.UnixMilli(h.until+1))
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}
