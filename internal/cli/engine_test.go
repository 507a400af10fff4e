package cli

import (
	"strings"
	"testing"

	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

func TestEngineFor(t *testing.T) {
	for _, c := range []struct {
		flavor gtid.Flavor
		asked  config.Engine
		want   config.Engine // "" for an error
	}{
		{gtid.MariaDB, config.EngineAuto, config.EngineMariaDB},
		{gtid.MariaDB, config.EngineMariaDB, config.EngineMariaDB},
		{gtid.MariaDB, config.EngineXtraBackup, ""},
		{gtid.MariaDB, config.EngineClone, ""},
		{gtid.MySQL, config.EngineAuto, config.EngineClone},
		{gtid.MySQL, "", config.EngineClone},
		{gtid.MySQL, config.EngineXtraBackup, config.EngineXtraBackup},
		{gtid.MySQL, config.EngineMariaDB, ""},
	} {
		got, err := engineFor(&config.Cluster{Name: "shop", Base: config.Base{Engine: c.asked}}, c.flavor)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s for %s: %q, %v", c.asked, c.flavor, got, err)
		}
		if err != nil && (!fault.Is(err, fault.Config) || !strings.Contains(fault.HintOf(err), "clusters.shop.base.engine to auto")) {
			t.Errorf("%v\nhint: %s", err, fault.HintOf(err))
		}
	}
}
