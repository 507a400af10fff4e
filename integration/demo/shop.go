package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"tidemark/integration/kit/servertest"
)

// shop is the write load: customers who order, in transactions over several tables.
type shop struct {
	p      *servertest.Process
	count  atomic.Int64
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func newShop(p *servertest.Process) *shop { return &shop{p: p, cancel: func() {}} }

const customers, writers = 2000, 4

func (s *shop) open() error {
	stmts := []string{
		"CREATE DATABASE shop",
		"CREATE TABLE shop.customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), balance BIGINT NOT NULL)",
		"CREATE TABLE shop.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, total BIGINT NOT NULL, note VARCHAR(200), at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6), KEY (customer))",
		"CREATE TABLE shop.items (order_id BIGINT NOT NULL, line INT NOT NULL, sku INT NOT NULL, qty INT NOT NULL, PRIMARY KEY (order_id, line))",
		"CREATE TABLE shop.journal (id BIGINT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100)) ENGINE=MyISAM",
		"CREATE TABLE shop.photos (id INT PRIMARY KEY, data LONGBLOB)",
		"INSERT INTO shop.customers (name, balance) VALUES ('first', 1000000)",
	}
	for n := 1; n < customers; n *= 2 {
		stmts = append(stmts, "INSERT INTO shop.customers (name, balance) SELECT CONCAT('customer ', id), 1000000 FROM shop.customers")
	}
	return s.p.Exec(stmts...)
}

// write starts the writers.
func (s *shop) write() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for w := range writers {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			if err := s.customer(ctx, rand.New(rand.NewPCG(7, uint64(w)))); err != nil {
				s.mu.Lock()
				s.err = err
				s.mu.Unlock()
			}
		}()
	}
}

// customer orders until ctx ends.
func (s *shop) customer(ctx context.Context, r *rand.Rand) error {
	conn, err := s.p.Conn()
	if err != nil {
		return err
	}
	defer conn.Close()
	for n := 0; ctx.Err() == nil; n++ {
		who, total := 1+r.IntN(customers), 1+r.IntN(5000)
		stmts := []string{
			"START TRANSACTION",
			fmt.Sprintf("INSERT INTO shop.orders (customer, total, note) VALUES (%d, %d, REPEAT('x', %d))", who, total, r.IntN(200)),
			"SET @o = LAST_INSERT_ID()",
			fmt.Sprintf("INSERT INTO shop.items VALUES (@o, 1, %d, 1), (@o, 2, %d, 2)", r.IntN(1000), r.IntN(1000)),
			fmt.Sprintf("UPDATE shop.customers SET balance = balance - %d WHERE id = %d", total, who),
			"COMMIT",
		}
		if n%100 == 99 {
			stmts = append(stmts, fmt.Sprintf("INSERT INTO shop.journal (what) VALUES ('order %d')", n),
				fmt.Sprintf("REPLACE INTO shop.photos VALUES (%d, REPEAT('p', %d))", r.IntN(50), r.IntN(1<<20)))
		}
		for _, stmt := range stmts {
			if _, err := conn.Execute(stmt); err != nil {
				return fmt.Errorf("%s: %w", stmt, err)
			}
		}
		s.count.Add(1)
	}
	return nil
}

func (s *shop) orders() int64 { return s.count.Load() }

// stop ends the writers and returns what went wrong with them.
func (s *shop) stop() error {
	s.close()
	return s.err
}

func (s *shop) close() {
	s.cancel()
	s.wg.Wait()
}
