drop table registry;
drop table cosignature;
drop table checkpoint;
drop table subtree;
drop table subject;
drop table body;
drop table entry;
drop table log;
