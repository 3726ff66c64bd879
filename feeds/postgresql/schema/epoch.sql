-- A new epoch: each member has to accept it, and tells anew all that it bans.
SELECT fleet.tick();
UPDATE fleet.clock SET epoch = gen_random_uuid();
