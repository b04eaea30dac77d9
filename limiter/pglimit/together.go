package pglimit

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// This file sends takes together. While some requests with takes are under way, other takes of one
// key wait in a line, and the next request has those in it, as one transaction. So a busy process
// needs fewer round trips, commits and switches between the server's processes.

const (
	// togetherMost is how many takes one request has. Their rows are locked until all are decided.
	togetherMost = 16
	// requestsMost is how many such requests are under way. More have fewer takes each: with 8
	// callers, a server on the same two cores decided half as much again over 3 connections as
	// over 8. One would make all takes wait while a row is locked.
	requestsMost = 3
)

// question is a take of one key, as the function take gets it.
type question struct {
	at   int64
	key  pgtype.UUID
	p    []int64
	got  answer
	err  error
	done chan struct{} // closed once got and err are set
}

// line is the questions that no request has yet, in the order in which they came.
type line struct {
	mu      sync.Mutex
	waiting []*question
}

func (l *line) join(q *question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, q)
}

// leave takes a question out of the line, if it is still there.
func (l *line) leave(q *question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, q); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// next takes the first questions out of the line. They are in the order of their keys, in which
// all functions lock rows, so that no two transactions wait for each other.
func (l *line) next() []*question {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), togetherMost)
	first := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	slices.SortStableFunc(first, func(a, b *question) int { return bytes.Compare(a.key.Bytes[:], b.key.Bytes[:]) })
	return first
}

// askTogether asks a question, maybe with others of this process. It returns when the answer is
// there or ctx ends; like [outlast], it lets a request that was sent go on.
func (s *Store) askTogether(ctx context.Context, q *question) (answer, error) {
	q.done = make(chan struct{})
	s.line.join(q)
	select {
	case s.taking <- struct{}{}:
		if questions := s.line.next(); len(questions) > 0 {
			go s.answer(context.WithoutCancel(ctx), questions)
		} else {
			<-s.taking
		}
	case <-q.done:
	case <-ctx.Done():
		s.line.leave(q)
		return answer{}, ctx.Err()
	}
	select {
	case <-q.done:
		return q.got, q.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// answer asks the server, and lets the next request run.
func (s *Store) answer(ctx context.Context, questions []*question) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c, err := s.conn(ctx); err != nil {
		for _, q := range questions {
			q.err = err
		}
	} else {
		s.answerOn(ctx, c, questions)
		c.Release()
	}
	<-s.taking
	for _, q := range questions {
		close(q.done)
	}
}

// answerOn asks the server on a connection. Where the server refuses one of several questions
// nothing of the transaction has happened, so each is asked alone.
func (s *Store) answerOn(ctx context.Context, c *pgxpool.Conn, questions []*question) {
	if len(questions) > 1 {
		var b pgx.Batch
		for _, q := range questions {
			b.Queue(s.take, q.at, q.key, q.p).QueryRow(func(row pgx.Row) error { return row.Scan(&q.got.r, &q.got.cause) })
		}
		err := c.SendBatch(ctx, &b).Close()
		var refused *pgconn.PgError
		if !errors.As(err, &refused) {
			for _, q := range questions {
				q.err = err
			}
			return
		}
	}
	for _, q := range questions {
		q.err = c.QueryRow(ctx, s.take, q.at, q.key, q.p).Scan(&q.got.r, &q.got.cause)
	}
}
