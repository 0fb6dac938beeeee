obj-m := irq_sim.o gpio-sim.o pi_identity.o
