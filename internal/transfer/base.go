package transfer

import (
	"context"
	"errors"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// base copies a base backup.
func (t *transfer) base(ctx context.Context, b *catalog.Base) error {
	copied := *b
	copied.Parts = nil
	if err := t.to.BeginBase(ctx, b); err != nil {
		return err
	}
	parts := make([]*catalog.Part, len(b.Parts))
	for i := range b.Parts {
		parts[i] = &b.Parts[i]
	}
	err := ordered(ctx, t.o.Workers, parts, func(ctx context.Context, p *catalog.Part) (*catalog.Part, error) { return t.part(ctx, b, p) },
		func(_, p *catalog.Part) error { copied.Parts = append(copied.Parts, *p); return nil })
	if err != nil {
		return err
	}
	if t.sealers == nil {
		err = t.to.CopyBase(ctx, t.from, b)
	} else {
		err = t.to.PutBase(ctx, &copied)
	}
	if err == nil {
		err = t.to.EndBase(ctx, b.ID)
	}
	return t.meanwhile("base/"+b.ID+"/manifest.json", err)
}

func (t *transfer) part(ctx context.Context, b *catalog.Base, p *catalog.Part) (*catalog.Part, error) {
	if t.sealers == nil {
		return p, t.data(ctx, p.Stored)
	}
	if done, err := t.to.Receipt(ctx, b.ID, p.Number); err != nil {
		return nil, err
	} else if done != nil {
		ok, err := t.redeem(ctx, p, done)
		if ok || err != nil {
			return done, err
		}
	}
	plain, err := t.from.OpenPart(ctx, *p)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	sealer := <-t.sealers
	defer func() { t.sealers <- sealer }()
	copied := *p
	stored, r, err := t.to.SealData(ctx, sealer, catalog.PartKey(b.ID, p.Number, newNonce()+"."+b.Engine), plain)
	if err == nil && (r.PlainSHA256 != p.PlainSHA256 || r.PlainBytes != p.PlainBytes) {
		err = fault.New(fault.Integrity, "read", p.Stored.Key, errors.New("its plain bytes are not those that its manifest describes"))
	}
	copied.Stored = stored
	t.read(int(p.Stored.Size))
	if err != nil {
		return nil, err
	}
	return &copied, t.to.PutReceipt(ctx, b.ID, &copied)
}

// redeem reports whether a part that a copy before this one has encrypted is still good; one that is
// not is removed.
func (t *transfer) redeem(ctx context.Context, p, done *catalog.Part) (bool, error) {
	good := done.PlainSHA256 == p.PlainSHA256 && done.PlainBytes == p.PlainBytes &&
		slices.Equal(done.Stored.Recipients, t.o.Recipients.Fingerprints())
	if good {
		err := t.to.VerifyStored(ctx, done.Stored)
		if err == nil {
			t.read(int(p.Stored.Size))
			return true, nil
		}
		if !fault.Is(err, fault.Integrity) {
			return false, err
		}
	}
	return false, t.to.Discard(ctx, done.Stored.Key)
}
