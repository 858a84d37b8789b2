drop table body;
drop index entry_exchange;
drop table entry;
