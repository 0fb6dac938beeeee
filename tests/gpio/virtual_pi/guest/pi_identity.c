// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The files in /proc/device-tree by which programs recognize a Raspberry Pi 4B. They are part of
 * procfs, so services with ProtectProc= see them, too. They would not see a bind mount.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static int revision(struct seq_file *file, void *data)
{
	__be32 revision = cpu_to_be32(0xc03114);

	seq_write(file, &revision, sizeof(revision));
	return 0;
}

static int model(struct seq_file *file, void *data)
{
	static const char name[] = "Raspberry Pi 4 Model B Rev 1.4";

	seq_write(file, name, sizeof(name));
	return 0;
}

static struct proc_dir_entry *root;

static int __init pi_identity_init(void)
{
	root = proc_mkdir("device-tree", NULL);
	if (!root || !proc_create_single("model", 0444, root, model) ||
	    !proc_create_single("linux,revision", 0444, proc_mkdir("system", root), revision)) {
		proc_remove(root);
		return -ENOMEM;
	}
	return 0;
}

static void __exit pi_identity_exit(void)
{
	proc_remove(root);
}

module_init(pi_identity_init);
module_exit(pi_identity_exit);
MODULE_DESCRIPTION("Makes a machine known as a Raspberry Pi 4B");
MODULE_LICENSE("Dual MIT/GPL");
