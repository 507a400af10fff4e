package cli

import "fmt"

// retention says what is ever deleted.
func (c *checker) retention() {
	r := c.cl.Retention
	if r.Never() {
		c.ok("retention", "none: nothing ever expires, and the archive grows")
		return
	}
	detail := fmt.Sprintf("at least %s", counted(r.MinBackups, "base backup"))
	if r.Window > 0 {
		detail = fmt.Sprintf("every moment of %s, and %s", took(r.Window), detail)
	}
	if r.MaxBackups > 0 {
		detail += fmt.Sprintf(", at most %d where that suffices", r.MaxBackups)
	}
	if lock := c.cfg.Storage.ObjectLock; lock.Retain > 0 && r.Window > 0 && lock.Retain > r.Window+r.Grace {
		c.warn("retention", "Lower storage.object_lock.retain, or raise clusters."+c.cl.Name+".retention.window, where that is not meant.",
			"%s; but objects are locked for %s, and stay so long", detail, took(lock.Retain))
		return
	}
	c.ok("retention", "%s", detail)
}
